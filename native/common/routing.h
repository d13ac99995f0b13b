// The choice of experts, a token each: few values, and the order of equals matters (the lower id goes first). Gating: Softmax 0, Sigmoid 1, SoftmaxOfChosen 2, SqrtSoftplus 3.
// scratch: [tokens x (2 experts + groups)].

inline void softmax_in_place(GLOBAL float* values, int count)
{
    float highest = -INFINITY, sum = 0;
    for (int i = 0; i < count; i++)
        highest = fmax(highest, values[i]);
    for (int i = 0; i < count; i++)
    {
        float e = exp(values[i] - highest);
        values[i] = e;
        sum += e;
    }

    for (int i = 0; i < count; i++)
        values[i] /= sum;
}

// A group counts what its two best experts do; experts of the other groups fall to the lowest rank.
inline void keep_best_groups(GLOBAL float* ranks, int experts, GLOBAL float* scores, int groups, int groups_used)
{
    int size = experts / groups;
    for (int g = 0; g < groups; g++)
    {
        float first = -INFINITY, second = -INFINITY;
        for (int i = g * size; i < (g + 1) * size; i++)
        {
            float rank = ranks[i];
            if (rank > first)
            {
                second = first;
                first = rank;
            }
            else if (rank > second)
            {
                second = rank;
            }
        }

        // An infinite rank outdoes all others, so that none beside it counts. A score is then never NaN, which marks the groups that were dropped.
        scores[g] = size == 1 || first == INFINITY ? first : first + second;
    }

    for (int dropped = groups - groups_used; dropped > 0; dropped--)
    {
        int worst = -1;
        for (int g = 0; g < groups; g++)
            if (!isnan(scores[g]) && (worst < 0 || scores[g] <= scores[worst])) worst = g;
        scores[worst] = FLOAT_OF(0x7fc00000u);
        for (int i = worst * size; i < (worst + 1) * size; i++)
            ranks[i] = -INFINITY;
    }
}

KERNEL route(GLOBAL const float* logits, long l0, int l_stride, int experts, GLOBAL const float* bias, int has_bias, int gating, int used, int is_normalized, float scale, int groups, int groups_used,
    GLOBAL float* scratch, GLOBAL int* ids, long i0, int i_stride, GLOBAL float* weights, long w0, int w_stride, int tokens)
{
    int t = GLOBAL_ID(0);
    if (t >= tokens) return;
    GLOBAL float* values = scratch + (long)t * (2 * experts + groups);
    GLOBAL float* ranks = values + experts;
    GLOBAL int* chosen = ids + i0 + (long)t * i_stride;
    GLOBAL float* shares = weights + w0 + (long)t * w_stride;
    for (int e = 0; e < experts; e++)
    {
        float x = logits[l0 + (long)t * l_stride + e];
        values[e] = gating == 1 ? 1 / (1 + exp(-x)) : gating == 3 ? sqrt(x > 20 ? x : log(1 + exp(x))) : x;
    }

    if (gating == 0) softmax_in_place(values, experts);
    for (int e = 0; e < experts; e++)
        ranks[e] = values[e] + (has_bias ? bias[e] : 0.0f);
    if (groups > 1) keep_best_groups(ranks, experts, ranks + experts, groups, groups_used);
    float sum = 0;
    for (int i = 0; i < used; i++)
    {
        int best = -1;
        for (int e = 0; e < experts; e++)
        {
            if (best >= 0 && !(ranks[e] > ranks[best])) continue;
            int is_taken = 0;
            for (int k = 0; k < i; k++)
                is_taken |= chosen[k] == e;
            if (!is_taken) best = e;
        }

        chosen[i] = best;
        shares[i] = values[best];
        sum += values[best];
    }

    if (gating == 2)
    {
        softmax_in_place(shares, used);
        sum = 1;
    }

    // The least sum: as in Nibble.Core's RoutingMath. Where a weight is NaN all become so.
    float least = 1.0f / 16384, factor = is_normalized ? scale / (sum < least ? least : sum) : scale;
    for (int i = 0; i < used; i++)
        shares[i] *= factor;
}

inline int known_expert(int expert, int matrices)
{
    return (uint)expert < (uint)matrices ? expert : matrices;
}

// Puts the rows of one expert together, in their order; row r has expert experts[r / used, r % used], and what is no expert goes last. One group.
// order: [rows]. blocks: [most x 3] an expert, -1 where there is none, its first place in the order, and the place behind its last: up to `length` rows; blocks that are left have no rows. local: [matrices + 1].
KERNEL group_rows(GLOBAL const int* experts, long e0, int e_stride, int used, int rows, int matrices, int length, int most, GLOBAL int* order, GLOBAL int* blocks, LOCAL int* places)
{
    int item = ITEM_ID(0), items = GROUP_ITEMS(0);
    for (int e = item; e <= matrices; e += items)
    {
        int count = 0;
        for (int t = 0; t * used < rows; t++)
        {
            for (int i = 0; i < used; i++)
                if (known_expert(experts[e0 + (long)t * e_stride + i], matrices) == e) count++;
        }

        places[e] = count;
    }

    BARRIER();
    if (item == 0)
    {
        int start = 0, block = 0;
        for (int e = 0; e <= matrices; e++)
        {
            int end = start + places[e];
            places[e] = start;
            for (; start < end; start += length, block++)
            {
                blocks[3 * block] = e < matrices ? e : -1;
                blocks[3 * block + 1] = start;
                blocks[3 * block + 2] = start + length < end ? start + length : end;
            }

            start = end;
        }

        for (; block < most; block++)
        {
            blocks[3 * block] = -1;
            blocks[3 * block + 1] = 0;
            blocks[3 * block + 2] = 0;
        }
    }

    BARRIER();
    for (int e = item; e <= matrices; e += items)
    {
        int place = places[e];
        for (int t = 0; t * used < rows; t++)
        {
            for (int i = 0; i < used; i++)
                if (known_expert(experts[e0 + (long)t * e_stride + i], matrices) == e) order[place++] = t * used + i;
        }
    }
}
