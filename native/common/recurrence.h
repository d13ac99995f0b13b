// Recurrences go through their tokens one after the other; what does not depend on one another has an item each.

// A channel each. kernel: [channels x taps]; state: [taps - 1 x channels], the oldest row first.
KERNEL convolve(GLOBAL const float* x, long x0, int x_stride, GLOBAL const float* taps, int count, GLOBAL const float* bias, int has_bias, int kind, GLOBAL const float* gelu,
    GLOBAL float* state, long s0, int s_stride, GLOBAL float* y, long y0, int y_stride, int tokens, int channels)
{
    int c = GLOBAL_ID(0);
    if (c >= channels) return;
    for (int t = 0; t < tokens; t++)
    {
        float sum = has_bias ? bias[c] : 0.0f;
        for (int j = 0; j < count; j++)
        {
            int row = t - (count - 1) + j;
            float value = row < 0 ? state[s0 + (long)(row + count - 1) * s_stride + c] : x[x0 + (long)row * x_stride + c];
            sum += taps[(long)c * count + j] * value;
        }

        y[y0 + (long)t * y_stride + c] = activation(kind, sum, gelu);
    }

    // Row i of the new state is row i + tokens of the old one and x behind it: what is read lies behind what is written.
    for (int i = 0; i < count - 1; i++)
    {
        int row = i + tokens - (count - 1);
        state[s0 + (long)i * s_stride + c] = row < 0 ? state[s0 + (long)(row + count - 1) * s_stride + c] : x[x0 + (long)row * x_stride + c];
    }
}

// A row of the state each: value row % value_size of head row / value_size.
KERNEL delta_rule(GLOBAL const float* queries, long q0, int q_stride, GLOBAL const float* keys, long k0, int k_stride, GLOBAL const float* values, long v0, int v_stride,
    GLOBAL const float* steps, long d0, int d_stride, int is_step_a_head, GLOBAL const float* rates, GLOBAL const float* betas, long b0, int b_stride,
    GLOBAL float* state, long s0, int s_stride, GLOBAL float* y, long y0, int y_stride, int tokens, int heads, int key_heads, int key_size, int value_size, int is_interleaved)
{
    int j = GLOBAL_ID(0);
    if (j >= heads * value_size) return;
    int head = j / value_size, key_head = is_interleaved ? head % key_heads : head / (heads / key_heads);
    GLOBAL float* row = state + s0 + (long)j * s_stride;
    float rate = rates[head], root = sqrt((float)key_size);
    for (int t = 0; t < tokens; t++)
    {
        GLOBAL const float* query = queries + q0 + (long)t * q_stride + key_head * key_size;
        GLOBAL const float* key = keys + k0 + (long)t * k_stride + key_head * key_size;
        GLOBAL const float* step = steps + d0 + (long)t * d_stride + (is_step_a_head ? head : head * key_size);
        float product = 0, result = 0;
        for (int i = 0; i < key_size; i++)
        {
            float kept = row[i] * exp(rate * step[is_step_a_head ? 0 : i]);
            row[i] = kept;
            product += kept * key[i];
        }

        float delta = betas[b0 + (long)t * b_stride + head] * (values[v0 + (long)t * v_stride + j] - product);
        for (int i = 0; i < key_size; i++)
        {
            float value = row[i] + delta * key[i];
            row[i] = value;
            result += value * query[i];
        }

        y[y0 + (long)t * y_stride + j] = result / root;
    }
}

// A row of the state each: value row % head_size of head row / head_size.
KERNEL state_space_scan(GLOBAL const float* x, long x0, int x_stride, GLOBAL const float* steps, long d0, int d_stride, GLOBAL const float* rates, int is_rate_a_head,
    GLOBAL const float* inputs, long b0, int b_stride, GLOBAL const float* outputs, long c0, int c_stride, GLOBAL const float* skips,
    GLOBAL float* state, long s0, int s_stride, GLOBAL float* y, long y0, int y_stride, int tokens, int heads, int groups, int head_size, int state_size)
{
    int j = GLOBAL_ID(0);
    if (j >= heads * head_size) return;
    int head = j / head_size, group = head / (heads / groups);
    GLOBAL float* row = state + s0 + (long)j * s_stride;
    for (int t = 0; t < tokens; t++)
    {
        float step = steps[d0 + (long)t * d_stride + head], value = x[x0 + (long)t * x_stride + j], result = 0;
        GLOBAL const float* b = inputs + b0 + (long)t * b_stride + group * state_size;
        GLOBAL const float* c = outputs + c0 + (long)t * c_stride + group * state_size;
        for (int i = 0; i < state_size; i++)
        {
            float rate = rates[is_rate_a_head ? head : head * state_size + i];
            float next = exp(rate * step) * row[i] + step * value * b[i];
            row[i] = next;
            result += next * c[i];
        }

        y[y0 + (long)t * y_stride + j] = result + skips[head] * value;
    }
}
