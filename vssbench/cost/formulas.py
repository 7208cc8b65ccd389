"""Multiply-accumulates of torch operators, and the classification of those that the rule 'exact' leaves out.

Source of the rule: spec/ar-seg.md section 7.3 (convolutions, linear layers and attention products; no bias,
normalisation, activation, resize or warp). Every formula takes (inputs, output) shapes only, never values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from vssbench.cost.ledger import Category

Formula = Callable[[Sequence[Any], Any], "int | None"]
"""(positional arguments, result) -> MACs, or None where the shapes are outside what the formula covers."""


def _dense(*tensors: object) -> bool:
    return all(isinstance(one, Tensor) and one.layout == torch.strided for one in tensors)


def convolution(arguments: Sequence[Any], output: Any) -> int:
    """aten::convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups).

    Forward: each output element takes Cin/groups * kernel products. Transposed: each *input* element gives
    Cout/groups * kernel products. Both are prod(weight.shape[1:]); padding zeros count like any value.
    """
    source, weight, transposed = arguments[0], arguments[1], bool(arguments[6])
    return int((source if transposed else output).numel() * prod(weight.shape[1:]))


def convolution_backend(arguments: Sequence[Any], output: Any) -> int:
    """Forward convolutions of one back end: (input, weight, ...), never transposed."""
    result = output[0] if isinstance(output, tuple) else output
    return int(result.numel() * prod(arguments[1].shape[1:]))


def convolution_backward(arguments: Sequence[Any], output: Any) -> int:
    """aten::convolution_backward: gradients of input and weight cost one forward pass each."""
    gradient, source, weight, transposed = arguments[0], arguments[1], arguments[2], bool(arguments[7])
    one = (source if transposed else gradient).numel() * prod(weight.shape[1:])
    return int(one * sum(bool(wanted) for wanted in arguments[10][:2]))


def product(first: int, second: int) -> Formula:
    """Matrix product of two arguments by position: [..., n, k] x [..., k, m] -> n*k*m per batch entry."""

    def macs(arguments: Sequence[Any], output: Any) -> int | None:
        left, right = arguments[first], arguments[second]
        if not _dense(left, right):
            return None
        return int(left.numel() * (right.shape[-1] if right.dim() > 1 else 1))

    return macs


def linear(arguments: Sequence[Any], output: Any) -> int:
    """aten::linear(input, weight [out, in], bias), where a back end keeps it whole."""
    return int(arguments[0].numel() * arguments[1].shape[0])


def attention(arguments: Sequence[Any], output: Any) -> int | None:
    """Scaled dot product attention, tensors [..., heads, positions, channels]; masks do not reduce the count.

    queries x keys x (channels of the keys + channels of the values) per head of the queries.
    """
    query, key, value = arguments[:3]
    if query.dim() != 4 or not _dense(query, key, value):
        return None
    return int(prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


def multihead_attention(arguments: Sequence[Any], output: Any) -> int | None:
    """aten::_native_multi_head_attention(q, k, v, embed_dim, heads, ...): four projections and two products."""
    query, key, value, width = *arguments[:3], int(arguments[3])
    if query.dim() != 3 or not _dense(query, key, value):
        return None
    projections = (query.numel() * 2 + key.numel() + value.numel()) * width
    return int(projections + 2 * query.shape[0] * query.shape[1] * key.shape[1] * width)


def recurrent_layer(arguments: Sequence[Any], output: Any) -> int:
    """aten::mkldnn_rnn_layer(input [steps, batch, in], weight_in [gates, in], weight_state [gates, state], ...)."""
    source, weight_in, weight_state = arguments[:3]
    return int(source.shape[0] * source.shape[1] * (weight_in.numel() + weight_state.numel()))


FORMULAS: dict[str, Formula] = {
    "aten::convolution": convolution,
    "aten::_convolution": convolution,
    "aten::convolution_backward": convolution_backward,
    **dict.fromkeys(
        (
            "aten::cudnn_convolution",
            "aten::cudnn_convolution_relu",
            "aten::miopen_convolution",
            "aten::mkldnn_convolution",
            "aten::_conv_depthwise2d",
            "aten::conv_depthwise3d",
            "aten::_slow_conv2d_forward",
            "aten::slow_conv3d_forward",
        ),
        convolution_backend,
    ),
    **dict.fromkeys(
        ("aten::mm", "aten::bmm", "aten::mv", "aten::dot", "aten::vdot", "aten::_int_mm", "aten::_scaled_mm"),
        product(0, 1),
    ),
    **dict.fromkeys(
        ("aten::addmm", "aten::baddbmm", "aten::addbmm", "aten::addmv", "aten::_addmm_activation"),
        product(1, 2),
    ),
    "aten::linear": linear,
    **dict.fromkeys(
        (
            "aten::_scaled_dot_product_flash_attention",
            "aten::_scaled_dot_product_flash_attention_for_cpu",
            "aten::_scaled_dot_product_efficient_attention",
            "aten::_scaled_dot_product_cudnn_attention",
            "aten::_scaled_dot_product_fused_attention_overrideable",
            "aten::_scaled_dot_product_attention_math_for_mps",
        ),
        attention,
    ),
    "aten::_native_multi_head_attention": multihead_attention,
    "aten::mkldnn_rnn_layer": recurrent_layer,
}
"""Operators that the rule 'exact' counts."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MOVEMENT = _names(
    """_local_scalar_dense _pin_memory _reshape_alias _reshape_copy _to_copy _unsafe_view alias_copy arange arange_start
    as_strided bernoulli cat clone col2im constant_pad_nd contiguous copy detach embedding empty empty_like
    empty_permuted empty_strided equal expand_copy eye fill flip full full_like gather im2col index index_copy
    index_put _unsafe_index _unsafe_index_put index_select is_pinned is_same_size item lift lift_fresh lift_fresh_copy
    linspace masked_fill masked_scatter masked_select native_dropout new_empty new_empty_strided new_full new_ones
    new_zeros nonzero normal ones ones_like permute_copy pixel_shuffle pixel_unshuffle rand rand_like randint randn
    randperm reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
    replication_pad2d replication_pad3d resize roll rot90 scalar_tensor scatter select_copy select_scatter set
    slice_copy slice_scatter split_with_sizes_copy stack sym_numel sym_size sym_stride tril triu tril_indices
    triu_indices unbind_copy unfold_copy uniform unsafe_split unsafe_split_with_sizes where zero zeros
    zeros_like"""
)
"""Operators that allocate, copy, index or pad: no arithmetic, not listed."""

_NAMED_CATEGORIES: dict[Category, str] = {
    "elementwise": "floor_divide",  # carries no pointwise tag
    "resize": """upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d
        upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa""",
    "warp": "grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback cudnn_grid_sampler affine_grid_generator",
    "pooling": """max_pool1d max_pool2d_with_indices max_pool3d_with_indices mkldnn_max_pool2d quantized_max_pool2d avg_pool1d
        avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d""",
    "normalisation": """native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_no_update
        _batch_norm_with_update cudnn_batch_norm miopen_batch_norm batch_norm_elemt native_layer_norm native_group_norm
        _fused_rms_norm _weight_norm_interface""",
    "activation": "_softmax _safe_softmax _log_softmax _prelu_kernel glu log_sigmoid_forward rrelu_with_noise",
    "reduction": """all amax amin aminmax any argmax argmin bincount count_nonzero cummax cummin cumprod cumsum histc
        kthvalue linalg_vector_norm logcumsumexp logsumexp max mean median min mode nanmedian nansum norm prod scatter_add
        scatter_reduce index_add searchsorted bucketize sort std std_mean sum topk unique_dim _unique2 unique_consecutive
        var var_mean nll_loss_forward nll_loss2d_forward mse_loss""",
}
CATEGORIES: dict[str, Category] = {
    name: category for category, names in _NAMED_CATEGORIES.items() for name in _names(names)
}
"""Operators that compute but hold none of the products the rule 'exact' counts."""

_POINTWISE_ACTIVATIONS = _names(
    "relu relu6 leaky_relu elu celu selu gelu silu mish sigmoid tanh softplus hardtanh hardswish hardsigmoid"
)
TAPS_PER_OUTPUT = 4
"""Products per output element of a bilinear resize or warp, for the note beside uncounted operators."""


def plain_name(name: str) -> str:
    """Operator name without namespace and in-place mark: 'aten::mul_' -> 'mul'."""
    return name.rpartition("::")[2].removesuffix("_")


def classify(operator: torch._ops.OpOverload) -> Category | None:
    """Category of an operator without a formula; None if it only moves data. Unlisted ones are 'unknown'."""
    schema = operator._schema
    if not schema.name.startswith(("aten::", "prims::", "prim::")):
        return "unknown"
    name = plain_name(schema.name)
    if name in MOVEMENT or _is_view(schema) or schema.name.startswith("prim::"):
        return None
    if name in CATEGORIES:
        return CATEGORIES[name]
    if name in _POINTWISE_ACTIVATIONS:
        return "activation"
    if torch.Tag.pointwise in operator.tags:
        return "elementwise"
    return "unknown"


def _is_view(schema: Any) -> bool:
    """Whether a result shares memory with an argument that is not written: nothing is computed then."""
    return any(one.alias_info is not None and not one.alias_info.is_write for one in schema.returns)
