// What several kernels compute.

// The bits of the nearest half, ties to even; every NaN becomes 0x7E00 with its sign.
inline ushort half_bits(float f)
{
    uint x = BITS_OF(f);
    uint sign = (x >> 16) & 0x8000u;
    x &= 0x7fffffffu;
    if (x >= 0x47800000u) return (ushort)(sign | (x > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (x < 0x38800000u)
    {
        uint exponent = x >> 23;
        if (exponent < 102u) return (ushort)sign;
        uint mantissa = (x & 0x7fffffu) | 0x800000u, shift = 126u - exponent;
        uint low = mantissa >> shift, rest = mantissa & ((1u << shift) - 1u), middle = 1u << (shift - 1u);
        return (ushort)(sign | (low + (rest > middle || (rest == middle && (low & 1u)) ? 1u : 0u)));
    }

    uint bits = (x - 0x38000000u) >> 13, rest = x & 0x1fffu;
    return (ushort)(sign | (bits + (rest > 0x1000u || (rest == 0x1000u && (bits & 1u)) ? 1u : 0u)));
}

// name: a group's values joined to one, which every item gets. of_sub_group: joins those of a sub-group. The group's items are a power of two. scratch: a value an item.
#if SUB_GROUPS
#define GROUP_REDUCTION(name, type, of_sub_group, join) \
    inline type name(LOCAL type* scratch, type value) \
    { \
        type own = of_sub_group(scratch, value); \
        if (SUB_GROUP_ITEM() == 0) scratch[SUB_GROUP_ID()] = own; \
        BARRIER(); \
        type all = scratch[0]; \
        for (int i = 1; i < SUB_GROUP_COUNT(); i++) \
            all = join(all, scratch[i]); \
        BARRIER(); \
        return all; \
    }
#else
#define GROUP_REDUCTION(name, type, of_sub_group, join) \
    inline type name(LOCAL type* scratch, type value) \
    { \
        int item = ITEM_ID(0); \
        scratch[item] = value; \
        BARRIER(); \
        for (int half_size = GROUP_ITEMS(0) / 2; half_size > 0; half_size /= 2) \
        { \
            if (item < half_size) scratch[item] = join(scratch[item], scratch[item + half_size]); \
            BARRIER(); \
        } \
        type all = scratch[0]; \
        BARRIER(); \
        return all; \
    }
#endif
GROUP_REDUCTION(group_sum, float, sub_group_sum, SUM_OF_TWO)
GROUP_REDUCTION(group_highest, float, sub_group_highest, fmax)

// Activations by their numbers in Nibble.Core: Identity 0, Silu 1, Gelu 2, Relu 3, ReluSquared 4, Sigmoid 5, Softplus 6. Gelu is looked up by the bits of the nearest half.
inline float activation(int kind, float x, GLOBAL const float* gelu)
{
    switch (kind)
    {
        case 1: return x / (1 + exp(-x));
        case 2: return x <= -10 ? 0.0f : x >= 10 ? x : gelu[half_bits(x)];
        case 3: return x < 0 ? 0.0f : x;
        case 4: return x < 0 ? 0.0f : x * x;
        case 5: return 1 / (1 + exp(-x));
        case 6: return x > 20 ? x : log(1 + exp(x));
        default: return x;
    }
}
