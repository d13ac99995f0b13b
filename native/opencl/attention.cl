// Causal attention. A group computes a head of a token over a part of its context: chunks of as many positions as it has items, with a running maximum and sum.
// Dimension 0 is the head, 1 the token, 2 the part. Where there are several parts, each leaves its maximum, its sum and its unscaled values in `parts`, and attention_merge puts them together.
// local: [key_size + value_size + 3 items].

#define IN_ORDER (W == 16 && !SUB_GROUPS)

inline float head_slope(float bias, int head, int heads)
{
    if (bias == 0) return 0;
    int power = 1;
    while (power * 2 <= heads)
        power *= 2;
    return head < power ? pow(2.0f, -bias * (head + 1) / power) : pow(2.0f, -bias / 2 * (2 * (head - power) + 1) / power);
}

KERNEL attention(GLOBAL const float* q, long q0, int q_stride, GLOBAL const uchar* keys, int key_row_bytes, GLOBAL const uchar* values, int value_row_bytes, int rows,
    int first_position, int window, int is_chunked, int heads, int kv_heads, int key_size, int value_size, int key_head_bytes, int value_head_bytes,
    float scale, float soft_cap, float alibi, float temperature_scale, float temperature_interval, float temperature_offset,
    GLOBAL const float* sinks, int has_sinks, GLOBAL float* parts, GLOBAL float* y, long y0, int y_stride, LOCAL float* scratch)
{
    int item = ITEM_ID(0), items = GROUP_ITEMS(0), head = GROUP_ID(0), t = GROUP_ID(1), part = GROUP_ID(2), part_count = get_num_groups(2);
    int position = first_position + t, kv_head = head / (heads / kv_heads);
    int first = window == 0 ? 0 : is_chunked ? position / window * window : max(0, position - window + 1);
    int visible = position + 1 - first, length = (visible + part_count - 1) / part_count;
    int begin = first + part * length, end = min(position + 1, begin + length);
    LOCAL float* query = scratch;
    LOCAL float* sums = query + key_size;
    LOCAL float* weights = sums + value_size;
    LOCAL float* reduce = weights + items;
    LOCAL int* lines = (LOCAL int*)(reduce + items);
    float factor = scale;
    if (temperature_scale != 0) factor *= 1 + temperature_scale * log(floor((position + temperature_offset) / temperature_interval) + 1);
    float slope = head_slope(alibi, head, heads);
    for (int i = item; i < key_size; i += items)
        query[i] = q[q0 + (long)t * q_stride + head * key_size + i];
    for (int i = item; i < value_size; i += items)
        sums[i] = 0;
    BARRIER();

    float highest = -INFINITY, total = 0;
    for (int chunk = begin; chunk < end; chunk += items)
    {
        int p = chunk + item, count = min(items, end - chunk);
        float score = -INFINITY;
        if (p < end)
        {
            int line = p % rows;
            lines[item] = line;
            GLOBAL const uchar* row = keys + (long)line * key_row_bytes + (long)kv_head * key_head_bytes;
            WIDE products = (WIDE)(0);
            int i = 0;
            for (; i + W <= key_size; i += W)
                products += kv_values(row, i) * LOAD_WIDE(0, query + i);
            float sum = sum_of(products);
            for (; i < key_size; i++)
                sum += KV_VALUE(row, i) * query[i];
            score = factor * sum;
            if (soft_cap > 0) score = soft_cap * tanh(score / soft_cap);
            score -= slope * (position - p);
        }

#if IN_ORDER
        // Where items run one after the other, one of them is faster than a tree of all.
        weights[item] = score;
        BARRIER();
        if (item == 0)
        {
            float most = weights[0];
            for (int k = 1; k < count; k++)
                most = fmax(most, weights[k]);
            reduce[0] = most;
        }

        BARRIER();
        float next = fmax(highest, reduce[0]);
        BARRIER();
#else
        float next = fmax(highest, group_highest(reduce, score));
#endif

        float weight = p < end ? exp(score - next) : 0.0f, kept = highest == -INFINITY ? 0.0f : exp(highest - next);
        weights[item] = weight;
#if IN_ORDER
        BARRIER();
        if (item == 0)
        {
            float sum = 0;
            for (int k = 0; k < count; k++)
                sum += weights[k];
            reduce[0] = sum;
        }

        BARRIER();
        total = total * kept + reduce[0];
#else
        total = total * kept + group_sum(reduce, weight);
#endif
        highest = next;
        GLOBAL const uchar* head_values = values + (long)kv_head * value_head_bytes;
        for (int i = item * W; i + W <= value_size; i += items * W)
        {
            WIDE sum = LOAD_WIDE(0, sums + i) * kept;
            for (int k = 0; k < count; k++)
                sum += weights[k] * kv_values(head_values + (long)lines[k] * value_row_bytes, i);
            STORE_WIDE(sum, 0, sums + i);
        }

        for (int i = value_size / W * W + item; i < value_size; i += items)
        {
            float sum = sums[i] * kept;
            for (int k = 0; k < count; k++)
                sum += weights[k] * KV_VALUE(head_values + (long)lines[k] * value_row_bytes, i);
            sums[i] = sum;
        }

        BARRIER();
    }

    if (part_count > 1)
    {
        GLOBAL float* mine = parts + (((long)t * heads + head) * part_count + part) * (value_size + 2);
        if (item == 0)
        {
            mine[0] = highest;
            mine[1] = total;
        }

        for (int i = item; i < value_size; i += items)
            mine[2 + i] = sums[i];
        return;
    }

    float rest = 1;
    if (has_sinks)
    {
        float next = fmax(highest, sinks[head]);
        rest = exp(highest - next);
        total = total * rest + exp(sinks[head] - next);
    }

    for (int i = item; i < value_size; i += items)
        y[y0 + (long)t * y_stride + head * value_size + i] = sums[i] * rest / total;
}

// A value each: dimension 0 is the value, 1 the head, 2 the token.
KERNEL attention_merge(GLOBAL const float* parts, int part_count, int heads, int value_size, GLOBAL const float* sinks, int has_sinks, GLOBAL float* y, long y0, int y_stride)
{
    int i = GLOBAL_ID(0), head = GLOBAL_ID(1), t = GLOBAL_ID(2);
    if (i >= value_size) return;
    GLOBAL const float* own = parts + ((long)t * heads + head) * part_count * (value_size + 2);
    float highest = has_sinks ? sinks[head] : -INFINITY;
    for (int part = 0; part < part_count; part++)
        highest = fmax(highest, own[part * (value_size + 2)]);
    float total = has_sinks ? exp(sinks[head] - highest) : 0.0f, sum = 0;
    for (int part = 0; part < part_count; part++)
    {
        GLOBAL const float* one = own + part * (value_size + 2);
        float kept = one[0] == -INFINITY ? 0.0f : exp(one[0] - highest);
        total += one[1] * kept;
        sum += one[2 + i] * kept;
    }

    y[y0 + (long)t * y_stride + head * value_size + i] = sum / total;
}
