// The steps of recurrent networks, forward and back through time: all but the products.
//
// No race: each thread has one unit of one row of the batch, and reads and writes these numbers only; products, which
// take rows as a whole, are other launches. A thread has no more than one unit because a step is short: many threads
// with little to do each hide its latency better than wide reads would.
//
// Two orders of time: step number t of the processing is at `at` in x. States are (time + 1, batch, units), gates and
// what else residuals keep (time, batch, columns), outputs (batch, time, units), by t; `projected` (x @ kernel) and all
// that products over all steps read in the gradient are (batch, time, columns), by `at`, as x is. Hence no copy of x,
// nor of its gradient. What pointers may be null is said where they are read.

// Under mixed precision what products read is rounded as it is written: `factors` are the states, or d, once more, and
// null otherwise; what products alone read is always of FACTOR.

#include "factors.cuh"

#define STEP long long batch, long long time, long long units, long long t, long long at

struct Place {
    unsigned unit;             // of the state
    long long row, place;      // of the batch; the unit among (batch, units)
    long long state, next;     // among states: before the step and after it
    long long in_x, in_y;      // the step's row of (batch, time, columns), by `at` and by t
    bool first, last, inside;  // the first step, the last one; whether there is such a unit

    __device__ Place(STEP) {
        const unsigned i = blockIdx.x * blockDim.x + threadIdx.x, of_row = (unsigned)units;
        row = i / of_row;
        unit = i % of_row;
        place = i;
        state = t * batch * units + place;
        next = state + batch * units;
        in_x = row * time + at;
        in_y = row * time + t;
        first = t == 0;
        last = t == time - 1;
        inside = row < batch;
    }
};

__device__ REAL sigmoid(REAL a) { return 1 / (1 + exp(-a)); }

// The state after a step, which is `value` or, where the mask says so, the old one. `initial` is kept as a state, too.
__device__ REAL carried(const Place& p, bool keep, REAL value, REAL old, REAL* states, REAL* last) {
    const REAL now = keep ? value : old;
    if (p.first) states[p.place] = old;
    states[p.next] = now;
    if (p.last) last[p.place] = now;
    return now;
}

__device__ void put(REAL* to, FACTOR* factors, long long i, REAL value) {
    to[i] = value;
    if (factors) factors[i] = TO_FACTOR(value);
}

// The output is the state, but zero before the first step that is not masked.
__device__ void put_out(const Place& p, bool keep, REAL state, REAL* y, FACTOR* factors, long long units) {
    if (factors) factors[p.next] = TO_FACTOR(state);
    REAL* to = y + p.in_y * units + p.unit;
    *to = keep ? state : p.first ? 0 : *(to - units);
}

// The cotangent of the state after a step: of the last step `last` (null: zero), of others what the later steps left,
// by the product with the recurrent kernel and without it; and that of the output, g (null: zero).
__device__ REAL cotangent(const Place& p, const REAL* g, const REAL* last, const bool* mask, const long long* first,
                          const REAL* dh, const REAL* product, long long units, long long t) {
    REAL found = p.last ? (last ? last[p.place] : 0) : dh[p.place] + product[p.place];
    if (g && (!mask || first[p.row] <= t)) found += g[p.in_y * units + p.unit];
    return found;
}

// Simple RNN

#define LINEAR 0
#define RELU 1
#define SIGMOID 2
#define TANH 3

// y = activation(projected + product + bias); bias and mask may be null.
extern "C" __global__ void simple_rnn_forward(const REAL* projected, const REAL* product, const REAL* bias,
                                              const REAL* h0, const bool* mask, REAL* y, REAL* last, REAL* h,
                                              FACTOR* factors, STEP, long long activation) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    const REAL old = p.first ? h0[p.place] : h[p.state];
    REAL a = projected[p.in_x * units + p.unit] + product[p.place] + (bias ? bias[p.unit] : 0);
    if (activation == RELU) a = a <= 0 ? 0 : a;  // NaN stays
    if (activation == SIGMOID) a = sigmoid(a);
    if (activation == TANH) a = tanh(a);
    put_out(p, keep, carried(p, keep, a, old, h, last), y, factors, units);
}

// d: the cotangent before activation; dh: that of the state before, as far as no product gives it; before: that state.
extern "C" __global__ void simple_rnn_backward(const REAL* g, const REAL* last, const bool* mask, const long long* first,
                                               const REAL* h, const REAL* product, REAL* dh, REAL* d, FACTOR* before,
                                               FACTOR* factors, STEP, long long activation) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    const REAL from = cotangent(p, g, last, mask, first, dh, product, units, t), y = h[p.next];
    REAL slope = 1;
    if (activation == RELU) slope = y > 0;
    if (activation == SIGMOID) slope = y * (1 - y);
    if (activation == TANH) slope = 1 - y * y;
    put(d, factors, p.in_x * units + p.unit, keep ? slope * from : 0);
    dh[p.place] = keep ? 0 : from;
    before[p.in_x * units + p.unit] = TO_FACTOR(h[p.state]);
}

// LSTM, with the gates i, f, candidate, o

// bias, mask, gates and tanh_c may be null, the last two together.
extern "C" __global__ void lstm_forward(const REAL* projected, const REAL* product, const REAL* bias, const REAL* h0,
                                        const REAL* c0, const bool* mask, REAL* y, REAL* last_h, REAL* last_c,
                                        REAL* gates, REAL* h, REAL* c, REAL* tanh_c, FACTOR* factors, STEP) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    const REAL *of_x = projected + p.in_x * 4 * units + p.unit, *of_h = product + p.row * 4 * units + p.unit;
    REAL a[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) a[k] = of_x[k * units] + of_h[k * units] + (bias ? bias[k * units + p.unit] : 0);
    const REAL i = sigmoid(a[0]), f = sigmoid(a[1]), candidate = tanh(a[2]), o = sigmoid(a[3]);
    const REAL old_h = p.first ? h0[p.place] : h[p.state], old_c = p.first ? c0[p.place] : c[p.state];
    const REAL bent = tanh(carried(p, keep, f * old_c + i * candidate, old_c, c, last_c));
    put_out(p, keep, carried(p, keep, o * bent, old_h, h, last_h), y, factors, units);
    if (!gates) return;
    REAL* to = gates + (t * batch + p.row) * 4 * units + p.unit;
    to[0] = i;
    to[units] = f;
    to[2 * units] = candidate;
    to[3 * units] = o;
    tanh_c[p.state] = bent;
}

// As of the simple RNN; dc: the cotangent of the cell after the step (last_c, or zero if null, after the last one), then
// of the cell before it.
extern "C" __global__ void lstm_backward(const REAL* g, const REAL* last_h, const REAL* last_c, const bool* mask,
                                         const long long* first, const REAL* gates, const REAL* h, const REAL* c,
                                         const REAL* tanh_c, const REAL* product, REAL* dh, REAL* dc, REAL* d,
                                         FACTOR* before, FACTOR* factors, STEP) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    const REAL* gate = gates + (t * batch + p.row) * 4 * units + p.unit;
    const REAL i = gate[0], f = gate[units], candidate = gate[2 * units], o = gate[3 * units], bent = tanh_c[p.state];
    const REAL from_h = cotangent(p, g, last_h, mask, first, dh, product, units, t);
    const REAL later = p.last ? (last_c ? last_c[p.place] : 0) : dc[p.place];
    const REAL from_c = later + from_h * o * (1 - bent * bent);
    const long long to = p.in_x * 4 * units + p.unit;
    put(d, factors, to, keep ? from_c * candidate * i * (1 - i) : 0);
    put(d, factors, to + units, keep ? from_c * c[p.state] * f * (1 - f) : 0);
    put(d, factors, to + 2 * units, keep ? from_c * i * (1 - candidate * candidate) : 0);
    put(d, factors, to + 3 * units, keep ? from_h * bent * o * (1 - o) : 0);
    dc[p.place] = keep ? from_c * f : later;
    dh[p.place] = keep ? 0 : from_h;
    before[p.in_x * units + p.unit] = TO_FACTOR(h[p.state]);
}

// GRU, with the gates z, r, candidate

// With reset_after; `inner` is the product that r multiplies. bias (2, 3 * units), mask, gates and inner may be null,
// the last two together.
extern "C" __global__ void gru_forward(const REAL* projected, const REAL* product, const REAL* bias, const REAL* h0,
                                       const bool* mask, REAL* y, REAL* last, REAL* gates, REAL* h, REAL* inner,
                                       FACTOR* factors, STEP) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    REAL of_x[3], of_h[3];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        of_x[k] = projected[p.in_x * 3 * units + k * units + p.unit] + (bias ? bias[k * units + p.unit] : 0);
        of_h[k] = product[(p.row * 3 + k) * units + p.unit] + (bias ? bias[(3 + k) * units + p.unit] : 0);
    }
    const REAL z = sigmoid(of_x[0] + of_h[0]), r = sigmoid(of_x[1] + of_h[1]), candidate = tanh(of_x[2] + r * of_h[2]);
    const REAL old = p.first ? h0[p.place] : h[p.state];
    put_out(p, keep, carried(p, keep, (old - candidate) * z + candidate, old, h, last), y, factors, units);
    if (!gates) return;
    REAL* to = gates + (t * batch + p.row) * 3 * units + p.unit;
    to[0] = z;
    to[units] = r;
    to[2 * units] = candidate;
    inner[p.state] = of_h[2];
}

// Without reset_after, before the product for the candidate: z and r of the product (batch, 2 * units), where z is
// left, and inner = r * h. bias (3 * units) and gates may be null.
extern "C" __global__ void gru_gates(const REAL* projected, REAL* product, const REAL* bias, const REAL* h0,
                                     const REAL* h, REAL* gates, REAL* inner, FACTOR* factors, STEP) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const REAL* of_x = projected + p.in_x * 3 * units + p.unit;
    REAL* of_h = product + p.row * 2 * units + p.unit;
    const REAL z = sigmoid(of_x[0] + of_h[0] + (bias ? bias[p.unit] : 0));
    const REAL r = sigmoid(of_x[units] + of_h[units] + (bias ? bias[units + p.unit] : 0));
    of_h[0] = z;
    put(inner, factors, p.state, r * (p.first ? h0[p.place] : h[p.state]));
    if (!gates) return;
    REAL* to = gates + (t * batch + p.row) * 3 * units + p.unit;
    to[0] = z;
    to[units] = r;
}

// Behind that product, `within` (batch, units). bias, mask and gates may be null.
extern "C" __global__ void gru_candidate(const REAL* projected, const REAL* product, const REAL* within,
                                         const REAL* bias, const REAL* h0, const bool* mask, REAL* y, REAL* last,
                                         REAL* gates, REAL* h, FACTOR* factors, STEP) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    const long long third = 2 * units + p.unit;
    const REAL candidate = tanh(projected[p.in_x * 3 * units + third] + within[p.place] + (bias ? bias[third] : 0));
    const REAL old = p.first ? h0[p.place] : h[p.state], z = product[p.row * 2 * units + p.unit];
    put_out(p, keep, carried(p, keep, (old - candidate) * z + candidate, old, h, last), y, factors, units);
    if (gates) gates[(t * batch + p.row) * 3 * units + third] = candidate;
}

// As of the simple RNN: d are the cotangents of z, r and candidate before activation, d_state those of the product with
// the recurrent kernel. Without reset_after inner and d_state are null, and r is left to gru_reset_backward.
extern "C" __global__ void gru_backward(const REAL* g, const REAL* last, const bool* mask, const long long* first,
                                        const REAL* gates, const REAL* h, const REAL* inner, const REAL* product,
                                        REAL* dh, REAL* d, FACTOR* before, REAL* d_state, FACTOR* factors,
                                        FACTOR* state_factors, STEP) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    const REAL* gate = gates + (t * batch + p.row) * 3 * units + p.unit;
    const REAL z = gate[0], r = gate[units], candidate = gate[2 * units], old = h[p.state];
    const REAL from = cotangent(p, g, last, mask, first, dh, product, units, t);
    const REAL by_z = keep ? from * (old - candidate) * z * (1 - z) : 0;
    const REAL by_candidate = keep ? from * (1 - z) * (1 - candidate * candidate) : 0;
    const long long to = p.in_x * 3 * units + p.unit;
    put(d, factors, to, by_z);
    put(d, factors, to + 2 * units, by_candidate);
    dh[p.place] = keep ? from * z : from;
    before[p.in_x * units + p.unit] = TO_FACTOR(old);
    if (!d_state) return;
    const REAL by_r = keep ? by_candidate * inner[p.state] * r * (1 - r) : 0;
    put(d, factors, to + units, by_r);
    put(d_state, state_factors, to, by_z);
    put(d_state, state_factors, to + units, by_r);
    put(d_state, state_factors, to + 2 * units, keep ? by_candidate * r : 0);
}

// Without reset_after: the cotangent of r, and of h by r * h, for that of r * h, the product; and r * h once more, as
// the product for the recurrent kernel's gradient reads it.
extern "C" __global__ void gru_reset_backward(const REAL* product, const bool* mask, const REAL* gates, const REAL* h,
                                              const REAL* inner, REAL* dh, REAL* d, FACTOR* reset, FACTOR* factors,
                                              STEP) {
    const Place p(batch, time, units, t, at);
    if (!p.inside) return;
    const bool keep = !mask || mask[p.in_x];
    const REAL r = gates[((t * batch + p.row) * 3 + 1) * units + p.unit], from = product[p.place];
    put(d, factors, (p.in_x * 3 + 1) * units + p.unit, keep ? from * h[p.state] * r * (1 - r) : 0);
    dh[p.place] += keep ? from * r : 0;
    reset[p.in_x * units + p.unit] = TO_FACTOR(keep ? inner[p.state] : 0);
}
