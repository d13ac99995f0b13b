// The words of native/common in OpenCL C 1.2. Tier 0: no half arithmetic, no sub-groups, no images. Tier 1: SUB_GROUPS, DOT and HALF are 1 where a device has these and a kernel is to use them.
// EMULATED: the tests' stand-ins, for devices that have none of it.
#pragma OPENCL FP_CONTRACT ON
#define KERNEL __kernel void
#define GLOBAL __global
#define LOCAL __local
#define GROUP_ID(d) ((int)get_group_id(d))
#define ITEM_ID(d) ((int)get_local_id(d))
#define GROUP_ITEMS(d) ((int)get_local_size(d))
#define GLOBAL_ID(d) ((int)get_global_id(d))
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define SUM_OF_TWO(a, b) ((a) + (b))
#define BITS_OF(f) as_uint(f)
#define FLOAT_OF(u) as_float(u)
#define LOAD_HALF(p, i) vload_half((i), (const __global half*)(p))

#if SUB_GROUPS
// Sums, and the highest value, of a sub-group, for each of its items.
#if EMULATED
#define SUB_GROUP_ITEMS 4
#define SUB_GROUP_ID() (ITEM_ID(0) / SUB_GROUP_ITEMS)
#define SUB_GROUP_ITEM() (ITEM_ID(0) % SUB_GROUP_ITEMS)
#define SUB_GROUP_COUNT() ((GROUP_ITEMS(0) + SUB_GROUP_ITEMS - 1) / SUB_GROUP_ITEMS)
#define SUB_GROUP_STAND_IN(name, type, join) \
    inline type name(LOCAL type* scratch, type value) \
    { \
        int first = ITEM_ID(0) - SUB_GROUP_ITEM(), end = min(first + SUB_GROUP_ITEMS, GROUP_ITEMS(0)); \
        scratch[ITEM_ID(0)] = value; \
        BARRIER(); \
        type all = scratch[first]; \
        for (int i = first + 1; i < end; i++) \
            all = join(all, scratch[i]); \
        BARRIER(); \
        return all; \
    }
SUB_GROUP_STAND_IN(sub_group_sum, float, SUM_OF_TWO)
SUB_GROUP_STAND_IN(sub_group_highest, float, fmax)
SUB_GROUP_STAND_IN(sub_group_least, int, min)
#else
#if __OPENCL_C_VERSION__ < 200
#pragma OPENCL EXTENSION cl_intel_subgroups : enable
#elif __OPENCL_C_VERSION__ < 300
#pragma OPENCL EXTENSION cl_khr_subgroups : enable
#endif
#define SUB_GROUP_ID() ((int)get_sub_group_id())
#define SUB_GROUP_ITEM() ((int)get_sub_group_local_id())
#define SUB_GROUP_COUNT() ((int)get_num_sub_groups())
#define sub_group_sum(scratch, value) sub_group_reduce_add(value)
#define sub_group_highest(scratch, value) sub_group_reduce_max(value)
#define sub_group_least(scratch, value) sub_group_reduce_min(value)
#endif
#endif

#if DOT
// Words of 32 activations (inputs.cl), and the products of 4 signed bytes with 4 others.
#define INPUT_WORDS 12
#if EMULATED
#define SIGNED_BYTE(x, i) ((int)((x) << (24 - 8 * (i))) >> 24)
inline int packed_dot(uint a, uint b)
{
    int sum = 0;
    for (int i = 0; i < 4; i++)
        sum += SIGNED_BYTE(a, i) * SIGNED_BYTE(b, i);
    return sum;
}
#else
#define packed_dot dot_4x8packed_ss_int
#endif
#endif

#if HALF
// Words of 32 activations (inputs.cl); 8 halves of local memory, one of them, and a sum that is rounded to half at each step.
#define INPUT_WORDS 20
#if EMULATED
#define HALF8 float8
#define HALF1 float
#define LOAD_HALF8(p) vload_half8(0, p)
#define LOAD_HALF1(p) vload_half(0, p)
inline float8 rounded_to_half(float8 x)
{
    ushort lanes[8];
    vstore_half8(x, 0, (half*)lanes);
    return vload_half8(0, (const half*)lanes);
}
#define ADD_PRODUCTS(sum, a, b) sum = rounded_to_half((sum) + (a) * (b))
#else
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define HALF8 half8
#define HALF1 half
#define LOAD_HALF8(p) vload8(0, p)
#define LOAD_HALF1(p) (*(p))
#define ADD_PRODUCTS(sum, a, b) sum += (a) * (b)
#endif
#endif
