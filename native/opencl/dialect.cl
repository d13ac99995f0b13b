// The words of native/common in OpenCL C 1.2. Tier 0: no half arithmetic, no sub-groups, no images.
#pragma OPENCL FP_CONTRACT ON
#define KERNEL __kernel void
#define GLOBAL __global
#define LOCAL __local
#define GROUP_ID(d) ((int)get_group_id(d))
#define ITEM_ID(d) ((int)get_local_id(d))
#define GROUP_ITEMS(d) ((int)get_local_size(d))
#define GLOBAL_ID(d) ((int)get_global_id(d))
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define BITS_OF(f) as_uint(f)
#define FLOAT_OF(u) as_float(u)
#define LOAD_HALF(p, i) vload_half((i), (const __global half*)(p))
