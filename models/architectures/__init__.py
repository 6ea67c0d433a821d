"""The architectures, by the kind that an experiment file names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reptools.errors import ParameterError

from ..objective import widths
from .cnn import CNN, CNNConfig
from .decoder import Decoder, DecoderConfig
from .encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from .mlp import MLP, MLPConfig
from .network import Network
from .resnet import ResNet, ResNetConfig
from .vit import ViT, ViTConfig

ARCHITECTURES: dict[str, type[Any]] = {
    "mlp": MLPConfig,
    "cnn": CNNConfig,
    "resnet": ResNetConfig,
    "vit": ViTConfig,
    "decoder": DecoderConfig,
    "encoder_decoder": EncoderDecoderConfig,
}

_MODELS: dict[type[Any], Callable[..., Network]] = {
    MLPConfig: lambda shape, outputs, config: MLP(shape[0], sum(widths(outputs)), config),
    CNNConfig: lambda shape, outputs, config: CNN(shape, sum(widths(outputs)), config),
    ResNetConfig: lambda shape, outputs, config: ResNet(shape, sum(widths(outputs)), config),
    ViTConfig: lambda shape, outputs, config: ViT(shape, sum(widths(outputs)), config),
    DecoderConfig: Decoder,
    EncoderDecoderConfig: EncoderDecoder,
}


def make_model(config: Any, input_shape: tuple[int, ...], outputs: tuple[int, ...]) -> Network:
    """Make the network that a config describes; draws from torch's global generator.

    Parameters
    ----------
    config
        An instance of one of :data:`ARCHITECTURES`; its ``dims`` names the dimensions of an input.
    input_shape
        Shape of one stimulus: (unit,), (channel, row, column) or (token, unit).
    outputs
        Number of classes of each output, in the order of emission. Two classes have one logit, the
        log-odds of the value 1; k > 2 have k.

    Raises
    ------
    ParameterError
        The shape or the outputs do not serve this architecture.

    Examples
    --------
    >>> model = make_model(MLPConfig(widths=(8, 4)), (24,), (2, 3))
    >>> model.head, model.readout.out_features
    ('fc2', 4)
    """
    dims = config.dims
    if len(input_shape) != len(dims) or min(input_shape) < 1:
        raise ParameterError(
            f"make_model: {type(config).__name__} takes stimuli of shape ({', '.join(dims)}), but "
            f"one is of shape {tuple(input_shape)}. Use another model.kind or kind of stimuli."
        )
    if not outputs or any(classes < 2 for classes in outputs):
        raise ParameterError(
            f"make_model: outputs have {tuple(outputs)} classes. Name at least one output, each "
            "of two classes or more."
        )
    return _MODELS[type(config)](tuple(input_shape), tuple(outputs), config)
