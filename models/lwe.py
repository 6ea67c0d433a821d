"""A textbook additive encryption (Regev's, with a secret key): sums of what stays encrypted.

For science, not for security: randomness comes from numpy's generators, which are not
cryptographic, and the key follows from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reptools.errors import ParameterError, some

MOST = 2**24  # the largest modulus whose numbers float32 holds exactly, as files do
WORD = np.uint32  # wraps modulo 2**32, so sums and products stay right modulo any q that divides it

Words = NDArray[np.uint32]
Whole = NDArray[np.int64]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Ciphertexts:
    """Encrypted messages, and how large their noise may be.

    Parameters
    ----------
    entries
        (..., message, entry): the `dimension` entries of the mask a, and b last, all in 0 to q - 1.
    bound
        What the absolute noise cannot exceed (message,). It follows from the computation alone, so
        whoever computes on ciphertexts knows it without the key.
    """

    entries: Words
    bound: Whole


@dataclass(frozen=True)
class LWE:
    """Secret-key encryption by learning with errors, additively homomorphic.

    A message m from 0 to t - 1 becomes (a, b) with a uniform modulo q and fresh for every message,
    b = <a, s> + e + (q/t) m modulo q, for the key s and a small noise e. The sum of ciphertexts is
    a ciphertext of the sum modulo t, a whole multiple one of the multiple; with t = 2, addition is
    XOR. Noise adds up, and decryption is exact as long as it stays below q / 2t.

    Parameters
    ----------
    dimension
        Length n of the key and the mask. The default is a toy that lattice reduction breaks at
        once; it keeps files small. 640, with the default modulus and noise, is the size of
        FrodoKEM-640 (of its first security level; its noise is a rounded Gaussian of the same
        deviation, and it publishes far fewer ciphertexts of one key).
    modulus
        q, a power of two up to 2**24, beyond which float32 does not hold the numbers exactly.
    noise
        The noise is the sum of this many differences of two fair bits: from -noise to noise, with
        variance noise / 2. Bounded, so that decryption cannot fail by bad luck.
    messages
        t, a power of two.

    Raises
    ------
    ParameterError
        A value out of its range, or a noise that a fresh ciphertext does not survive.

    Notes
    -----
    That no analysis of single units, of pairs of them or of sums over them can find the message
    does not rest on the hardness of the problem, so a toy dimension serves as well: if two entries
    of the key are odd, then b and any one entry of a are uniform and independent whatever the
    message is; the same holds for b and any entries of a that leave out one odd entry of the key.
    Hardness is about those who combine all of them.

    References
    ----------
    Regev (2005), On lattices, learning with errors, random linear codes, and cryptography, STOC,
    section 5. Alkim et al. (2020), FrodoKEM: algorithm specifications, table 1.

    Examples
    --------
    >>> scheme, rng = LWE(), np.random.default_rng(0)
    >>> key = scheme.make_key(rng)
    >>> bits = scheme.encrypt([1, 0, 1], key, rng)
    >>> scheme.decrypt(bits, key)
    array([1, 0, 1])
    >>> scheme.decrypt(scheme.combine(bits, [[1, 1, 0], [1, 1, 1]]), key)  # XORs, computed blind
    array([1, 0])
    """

    dimension: int = 64
    modulus: int = 2**15
    noise: int = 16
    messages: int = 2

    def __post_init__(self) -> None:
        for name, low, high in (
            ("dimension", 1, 2**16),
            ("modulus", 4, MOST),
            ("noise", 0, MOST),
            ("messages", 2, MOST // 2),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ParameterError(
                    f"LWE: {name} is {value!r}. Give a whole number from {low} to {high}."
                )
            if name in ("modulus", "messages") and value & (value - 1):
                raise ParameterError(f"LWE: {name} is {value}. Give a power of two.")
        if self.modulus < 2 * self.messages:
            raise ParameterError(
                f"LWE: modulus is {self.modulus}, for {self.messages} messages. "
                f"Give at least {2 * self.messages}."
            )
        if self.noise >= self.budget:
            raise ParameterError(
                f"LWE: noise is {self.noise}, and a modulus of {self.modulus} with {self.messages} "
                f"messages decrypts right below {self.budget:g}. Lower noise or raise modulus."
            )

    @property
    def budget(self) -> float:
        """Absolute noise from which on decryption may fail, q / 2t."""
        return self.modulus / (2 * self.messages)

    def make_key(self, rng: np.random.Generator) -> Words:
        """Draw a key (dimension,), uniform modulo q."""
        return rng.integers(self.modulus, size=self.dimension, dtype=WORD)

    def encrypt(self, messages: ArrayLike, key: Words, rng: np.random.Generator) -> Ciphertexts:
        """Encrypt messages (..., message), each with randomness of its own.

        Raises
        ------
        ParameterError
            A message outside 0 to t - 1, or a key of another length.
        """
        plain = np.asarray(messages)
        fits = (plain >= 0) & (plain < self.messages) & (plain == plain.astype(np.int64))
        if plain.ndim == 0 or not fits.all():
            raise ParameterError(
                f"LWE.encrypt: messages of shape {plain.shape} hold {some(plain[~fits].tolist())}. "
                f"Give (..., message) of whole numbers from 0 to {self.messages - 1}."
            )
        self._check_key(key)
        mask = rng.integers(self.modulus, size=(*plain.shape, self.dimension), dtype=WORD)
        noise = rng.binomial(2 * self.noise, 0.5, size=plain.shape) - self.noise
        step = WORD(self.modulus // self.messages)
        b = mask @ key + noise.astype(WORD) + step * plain.astype(WORD)  # -1 is 2**32 - 1
        entries = np.concatenate([mask, self._reduced(b)[..., None]], axis=-1)
        return Ciphertexts(entries, np.full(plain.shape[-1], self.noise, np.int64))

    def combine(self, texts: Ciphertexts, weights: ArrayLike) -> Ciphertexts:
        """Compute weighted sums of encrypted messages without the key.

        Parameters
        ----------
        texts
            Ciphertexts (..., message, entry).
        weights
            Whole numbers (sum, message).

        Returns
        -------
        Ciphertexts
            Of ``weights @ messages`` modulo t, (..., sum, entry).

        Raises
        ------
        ParameterError
            Weights that are not whole or do not fit, or sums whose noise might exceed the budget.
        """
        factors = np.asarray(weights)
        count = texts.entries.shape[-2]
        if factors.dtype.kind not in "biu" or factors.ndim != 2 or factors.shape[1] != count:
            raise ParameterError(
                f"LWE.combine: weights are {factors.dtype} of shape {factors.shape}, for {count} "
                f"messages. Give whole numbers of shape (sum, {count})."
            )
        whole = factors.astype(np.int64)
        bound = np.abs(whole) @ texts.bound
        if (bound >= self.budget).any():
            worst = int(bound.argmax())
            raise ParameterError(
                f"LWE.combine: the noise of sum {worst} may reach {bound[worst]}, and from "
                f"{self.budget:g} on decryption may fail. Add fewer terms, lower noise or raise "
                "modulus."
            )
        return Ciphertexts(self._reduced(whole.astype(WORD) @ texts.entries), bound)

    def unmask(self, texts: Ciphertexts, key: Words) -> Words:
        """Take the mask off with the key: (a, b - <a, s>), an invertible change of the ciphertext.

        Returns
        -------
        numpy.ndarray
            (..., message, entry), the last entry e + (q/t) m modulo q.
        """
        self._check_key(key)
        mask, b = texts.entries[..., :-1], texts.entries[..., -1:]
        return np.concatenate([mask, self._reduced(b - (mask @ key)[..., None])], axis=-1)

    def decrypt(self, texts: Ciphertexts, key: Words) -> Whole:
        """Decrypt to messages (..., message): the nearest to what the mask leaves."""
        step = self.modulus // self.messages
        shifted = self._reduced(self.unmask(texts, key)[..., -1] + WORD(step // 2))
        return shifted.astype(np.int64) // step

    def noise_of(self, texts: Ciphertexts, key: Words) -> Whole:
        """Signed distance (..., message) from the decrypted message, in -q/2t to q/2t - 1."""
        step = self.modulus // self.messages
        shifted = self._reduced(self.unmask(texts, key)[..., -1] + WORD(step // 2))
        return shifted.astype(np.int64) % step - step // 2

    def _reduced(self, numbers: Words) -> Words:
        return numbers & WORD(self.modulus - 1)

    def _check_key(self, key: Words) -> None:
        if key.shape != (self.dimension,) or key.dtype != WORD:
            raise ParameterError(
                f"LWE: the key is {key.dtype} of shape {key.shape}, and dimension is "
                f"{self.dimension}. Take one of make_key."
            )


def _linear(entries: Words, scheme: LWE) -> Float:
    # cut half a message's width below message 0, so that noise does not throw one to both ends
    cut = scheme.modulus // (2 * scheme.messages)
    shifted = (entries + WORD(cut)) & WORD(scheme.modulus - 1)
    return (shifted.astype(np.float32) / np.float32(scheme.modulus) - np.float32(0.5))[..., None]


def _circle(entries: Words, scheme: LWE) -> Float:
    angle = entries * (2 * np.pi / scheme.modulus)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


Reading = Callable[[Words, LWE], Float]
READINGS: dict[str, Reading] = {"linear": _linear, "circle": _circle}
"""Real numbers (..., entry, part) that an analysis may take for the numbers modulo q; our choice.

``"linear"``: what lies in memory, scaled to run from -1/2 to below 1/2, cut between two messages;
exact in float32, so that a file of it can be decrypted. ``"circle"``: cosine and sine of the
angle, so that q - 1 is as near to 0 as 1 is.
"""
