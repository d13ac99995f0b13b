// The k highest values of a part of a row, the highest first, of equals the one of the lowest id: each is the best of those that come after the one before. A NaN counts as infinity, so that it is seen.
// A group each: dimension 0 is the part, 1 the row. Where x has ids, values are what another run left; else a value's id is its column.
// Last, ids of what is no finite number become -1. local: [2 x items].
inline int comes_before(float a, int a_id, float b, int b_id)
{
    return a > b || (a == b && a_id < b_id);
}

#if SUB_GROUPS
GROUP_REDUCTION(group_least, int, sub_group_least, min)
#endif

KERNEL top_k(GLOBAL const float* x, long x0, int x_stride, GLOBAL const int* ids, int has_ids, int columns, int length, int k, int is_last,
    GLOBAL int* best_ids, long i0, int i_stride, GLOBAL float* best_values, long v0, int v_stride, LOCAL float* values)
{
    int item = ITEM_ID(0), items = GROUP_ITEMS(0), part = GROUP_ID(0), t = GROUP_ID(1);
    int begin = part * length, end = min(columns, begin + length), before_id = -1;
    LOCAL int* value_ids = (LOCAL int*)(values + items);
    GLOBAL const float* row = x + x0 + (long)t * x_stride;
    GLOBAL const int* row_ids = ids + (long)t * x_stride;
    float before = INFINITY;
    for (int i = 0; i < k; i++)
    {
        float best = -INFINITY;
        int best_id = 0x7fffffff;
        for (int c = begin + item; c < end; c += items)
        {
            float value = row[c];
            int id = has_ids ? row_ids[c] : c;
            if (isnan(value)) value = INFINITY;
            if (comes_before(value, id, best, best_id) && comes_before(before, before_id, value, id))
            {
                best = value;
                best_id = id;
            }
        }

#if SUB_GROUPS
        before = group_highest(values, best);
        before_id = group_least(value_ids, best == before ? best_id : 0x7fffffff);
#else
        values[item] = best;
        value_ids[item] = best_id;
        BARRIER();
        for (int half_size = items / 2; half_size > 0; half_size /= 2)
        {
            if (item < half_size && comes_before(values[item + half_size], value_ids[item + half_size], values[item], value_ids[item]))
            {
                values[item] = values[item + half_size];
                value_ids[item] = value_ids[item + half_size];
            }

            BARRIER();
        }

        before = values[0];
        before_id = value_ids[0];
        BARRIER();
#endif
        if (item == 0)
        {
            best_ids[i0 + (long)t * i_stride + part * k + i] = is_last && isinf(before) ? -1 : before_id;
            best_values[v0 + (long)t * v_stride + part * k + i] = before;
        }
    }
}
