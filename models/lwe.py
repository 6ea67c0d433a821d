"""A textbook encryption of bits (Regev's, with a secret key): XORs of what stays encrypted.

For science, not for security: randomness comes from numpy's generators, which are not
cryptographic, and the key follows from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reptools.errors import ParameterError

MOST = 2**24  # the largest modulus whose numbers float32 holds exactly, as files do
WORD = np.uint32  # wraps modulo 2**32, so sums and products stay right modulo any q that divides it

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class LWE:
    """Secret-key encryption of bits by learning with errors, under which addition is XOR.

    A bit m becomes (a, b): a is uniform modulo q and fresh for every bit, and
    b = <a, s> + e + (q/2) m modulo q, for the key s and a small noise e. The sum of ciphertexts is
    a ciphertext of the XOR. Noise adds up, and decryption is exact as long as it stays below q/4.

    Parameters
    ----------
    dimension
        Length n of the key and of a. The default is a toy that lattice reduction breaks at once; it
        keeps files small. 640, with the default modulus and noise, is the size of FrodoKEM-640.
    modulus
        q, a power of two up to 2**24, beyond which float32 does not hold the numbers exactly.
    noise
        The noise is the sum of this many differences of two fair bits: from -noise to noise, with
        variance noise / 2. Bounded, so that decryption cannot fail by bad luck.

    Raises
    ------
    ParameterError
        A value out of its range, or a noise that a fresh ciphertext does not survive.

    Notes
    -----
    That no analysis of single units, of pairs of them or of sums over them can find the bit does
    not rest on the hardness of the problem, so a toy dimension serves as well: if two entries of
    the key are odd, then b and any one entry of a are uniform and independent whatever the bit is;
    the same holds for b and any entries of a that leave out one odd entry of the key. Hardness is
    about those who combine all of them.

    References
    ----------
    Regev (2005), On lattices, learning with errors, random linear codes, and cryptography, STOC,
    section 5. Alkim et al. (2020), FrodoKEM: algorithm specifications, table 1.

    Examples
    --------
    >>> scheme, rng = LWE(), np.random.default_rng(0)
    >>> key = scheme.make_key(rng)
    >>> texts = scheme.encrypt([1, 0, 1], key, rng)
    >>> scheme.decrypt(texts, key)
    array([1, 0, 1])
    >>> scheme.decrypt(scheme.xor(texts, [[1, 1, 0], [1, 1, 1]]), key)  # computed blind
    array([1, 0])
    """

    dimension: int = 64
    modulus: int = 2**15
    noise: int = 16

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ParameterError(f"LWE: dimension is {self.dimension}. Give at least 1.")
        if not 4 <= self.modulus <= MOST or self.modulus.bit_count() != 1:
            raise ParameterError(
                f"LWE: modulus is {self.modulus}. Give a power of two from 4 to {MOST}."
            )
        if not 0 <= self.noise < self.budget:
            raise ParameterError(
                f"LWE: noise is {self.noise}, and a modulus of {self.modulus} bears 0 to below "
                f"{self.budget}. Change either."
            )

    @property
    def budget(self) -> int:
        """Absolute noise from which on decryption may fail."""
        return self.modulus // 4

    def make_key(self, rng: np.random.Generator) -> Words:
        """Draw a key (dimension,), uniform modulo q."""
        return rng.integers(self.modulus, size=self.dimension, dtype=WORD)

    def encrypt(self, bits: ArrayLike, key: Words, rng: np.random.Generator) -> Words:
        """Encrypt bits (..., bit), each with randomness of its own: (..., bit, entry), b last."""
        plain = np.asarray(bits, WORD)
        mask = rng.integers(self.modulus, size=(*plain.shape, self.dimension), dtype=WORD)
        noise = rng.binomial(2 * self.noise, 0.5, size=plain.shape) - self.noise
        b = mask @ key + noise.astype(WORD) + WORD(self.modulus // 2) * plain  # -1 is 2**32 - 1
        return np.concatenate([mask, self._reduced(b)[..., None]], axis=-1)

    def xor(self, texts: Words, chosen: ArrayLike) -> Words:
        """Compute XORs (..., xor, entry) of fresh ciphertexts (..., bit, entry) without the key.

        `chosen` says which bits each XOR takes (xor, bit), 1 or 0: fewer than the noise allows.
        """
        terms = np.asarray(chosen, WORD)
        most = int(terms.sum(axis=1).max(initial=0))
        if most * self.noise >= self.budget:
            raise ParameterError(
                f"LWE.xor: the noise of {most} terms may reach {most * self.noise}, and from "
                f"{self.budget} on decryption may fail. Add fewer, lower noise or raise modulus."
            )
        return self._reduced(terms @ texts)

    def unmask(self, texts: Words, key: Words) -> Words:
        """Take the mask off with the key: (a, b - <a, s>), an invertible change of the ciphertext.

        The last entry of (..., bit, entry) is then e + (q/2) m modulo q.
        """
        mask, b = texts[..., :-1], texts[..., -1]
        return np.concatenate([mask, self._reduced(b - mask @ key)[..., None]], axis=-1)

    def decrypt(self, texts: Words, key: Words) -> NDArray[np.int64]:
        """Decrypt to bits (..., bit): whether 0 or q/2 is nearer to what the mask leaves."""
        opened = self.unmask(texts, key)[..., -1] + WORD(self.budget)
        return self._reduced(opened).astype(np.int64) // (self.modulus // 2)

    def numbers(self, texts: Words) -> NDArray[np.float32]:
        """Real numbers that an analysis may take for the entries, from -1/2 to below 1/2.

        What lies in memory, cut between the two bits, so that noise does not throw one bit to both
        ends; exact in float32, so that a file of it can be decrypted.
        """
        shifted = self._reduced(texts + WORD(self.budget)).astype(np.float32)
        return shifted / np.float32(self.modulus) - np.float32(0.5)

    def _reduced(self, numbers: Words) -> Words:
        return numbers & WORD(self.modulus - 1)
