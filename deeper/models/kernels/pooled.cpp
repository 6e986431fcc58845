// A convolution whose results are pooled, 2 × 2 at a step of 2, and cut off by ReLU: the pool with ReLU forward, and
// everything backward. Only what was chosen and not cut has a gradient, of a trained NielsenNet's second convolution less
// than a tenth of the results; so the gradients by the input and by the weights are summed over those alone. Infinite
// gradients, of a training that has diverged, reach some inputs beside their window too.

#include <type_traits>
#include <vector>

#include "kernels.h"

namespace {

// Pictures whose gradients by the weights are summed together. Depends on nothing, so neither do results.
constexpr Index CHUNK = 16;

struct Shape {
    Index pictures, height, width, channels, filters, side, out_height, out_width;
    // Of the results that are pooled.
    Index result_height() const { return height - side + 1; }
    Index result_width() const { return width - side + 1; }
    // A filter's weights for one row of its input, in whole vectors.
    Index row() const { return (side * channels + LANES - 1) / LANES * LANES; }
    Index filter() const { return side * row(); }
    Index inputs() const { return height * width * channels; }
};

template <typename T, typename A = Sum<T>>
void pool(const T *x, Index x_stride, T *y, std::uint8_t *winners, Shape s, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index line = 0; line < s.pictures * s.out_height; ++line) {
        const Index picture = line / s.out_height, row = line % s.out_height * 2;
        for (Index column = 0; column < s.out_width; ++column) {
            const T *first = x + ((picture * s.result_height() + row) * s.result_width() + 2 * column) * x_stride;
            const T *from[] = {first, first + x_stride, first + s.result_width() * x_stride,
                               first + (s.result_width() + 1) * x_stride};
            T *to = y + (line * s.out_width + column) * s.filters;
            std::uint8_t *won = winners + (line * s.out_width + column) * s.filters;
#pragma omp simd
            for (Index f = 0; f < s.filters; ++f) {
                A best = load(from[0][f]);
                std::int32_t place = 0;
                for (std::int32_t next = 1; next < 4; ++next) {
                    const A value = load(from[next][f]);
                    // As in PyTorch a NaN wins, and only another one against it.
                    const bool wins = (value > best) | (value != value);
                    best = wins ? value : best;
                    place = wins ? next : place;
                }
                const bool cut = best <= A(0);
                store(to[f], cut ? A(0) : best);
                won[f] = static_cast<std::uint8_t>(cut ? CUT : place);
            }
        }
    }
}

// What is left of one filter's gradient: where its window begins in the input, and how much.
struct Chosen {
    Index place;
    float gradient;
};
struct Several {
    const Chosen *first, *last;
    const Chosen *begin() const { return first; }
    const Chosen *end() const { return last; }
};

// COUNT vectors of a filter's sums over what was chosen.
template <int COUNT>
inline void by_weights_of(const float *x, Several chosen, float *sums) {
    Lanes own[COUNT];
    for (int v = 0; v < COUNT; ++v) own[v] = at(sums + v * LANES);
    for (const Chosen &one : chosen) {
        const float *from = x + one.place;
#pragma GCC unroll 8
        for (int v = 0; v < COUNT; ++v) own[v] += one.gradient * at(from + v * LANES);
    }
    for (int v = 0; v < COUNT; ++v) put(sums + v * LANES, own[v]);
}

// Adds what was chosen, times COUNT vectors of a filter's weights, to where it was chosen from.
template <int COUNT>
inline void by_inputs_of(const float *weights, Several chosen, float *inputs) {
    Lanes own[COUNT];
    for (int v = 0; v < COUNT; ++v) own[v] = at(weights + v * LANES);
    for (const Chosen &one : chosen) {
        float *to = inputs + one.place;
#pragma GCC unroll 8
        for (int v = 0; v < COUNT; ++v) put(to + v * LANES, at(to + v * LANES) + one.gradient * own[v]);
    }
}

// Calls `run` with a constant number of vectors, at most eight, and where they begin, until `vectors` are done.
template <typename Run>
inline void in_vectors(Index vectors, Run run) {
    Index first = 0;
    for (; vectors - first >= 8; first += 8) run(std::integral_constant<int, 8>{}, first * LANES);
    switch (vectors - first) {
        case 7: return run(std::integral_constant<int, 7>{}, first * LANES);
        case 6: return run(std::integral_constant<int, 6>{}, first * LANES);
        case 5: return run(std::integral_constant<int, 5>{}, first * LANES);
        case 4: return run(std::integral_constant<int, 4>{}, first * LANES);
        case 3: return run(std::integral_constant<int, 3>{}, first * LANES);
        case 2: return run(std::integral_constant<int, 2>{}, first * LANES);
        case 1: return run(std::integral_constant<int, 1>{}, first * LANES);
    }
}

template <typename T>
void backward(const T *gradient, Index gradient_stride, const std::uint8_t *winners, const T *x, Index x_stride,
              const float *weights, T *by_x, float *by_weights, float *by_bias, Shape s, int threads) {
    const Index numbers = s.filters * (s.filter() + 1), chunks = (s.pictures + CHUNK - 1) / CHUNK;
    const Index vectors = s.row() / LANES, line = s.width * s.channels, outs = s.out_height * s.out_width;
    // Filter × row × (column, channel), as pictures lie.
    std::vector<float> taps(s.filters * s.filter(), 0.0f), parts(chunks * numbers, 0.0f);
    for (Index f = 0; f < s.filters; ++f)
        for (Index c = 0; c < s.channels; ++c)
            for (Index i = 0; i < s.side; ++i)
                for (Index j = 0; j < s.side; ++j)
                    taps[f * s.filter() + i * s.row() + j * s.channels + c] =
                        weights[((f * s.channels + c) * s.side + i) * s.side + j];
#pragma omp parallel num_threads(threads)
    {
        // A row's last vector may reach beyond a picture's end.
        std::vector<float> taken(s.inputs() + s.row(), 0.0f), given(s.inputs() + s.row());
        std::vector<Chosen> all(outs + 1);
#pragma omp for schedule(static)
        for (Index chunk = 0; chunk < chunks; ++chunk) {
            float *sums = parts.data() + chunk * numbers, *bias_sums = sums + s.filters * s.filter();
            for (Index n = chunk * CHUNK; n < std::min(s.pictures, (chunk + 1) * CHUNK); ++n) {
                for (Index position = 0; position < s.height * s.width; ++position) {
                    const T *from = x + (n * s.height * s.width + position) * x_stride;
                    float *to = taken.data() + position * s.channels;
                    for (Index c = 0; c < s.channels; ++c) to[c] = load(from[c]);
                }
                std::fill(given.begin(), given.end(), 0.0f);
                for (Index f = 0; f < s.filters; ++f) {
                    Index count = 0;
                    for (Index row = 0, out = n * outs; row < s.out_height; ++row)
                        for (Index column = 0; column < s.out_width; ++column, ++out) {
                            const Index won = winners[out * s.filters + f];
                            const float own = load(gradient[out * gradient_stride + f]);
                            // Written in any case, and kept or written over: a branch would often be guessed wrong.
                            all[count] = {((2 * row + won / 2) * s.width + 2 * column + won % 2) * s.channels, own};
                            const bool kept = (won != CUT) & (own != 0.0f);
                            count += kept;
                            bias_sums[f] += kept ? own : 0.0f;
                        }
                    if (count == 0) continue;
                    const Several chosen{all.data(), all.data() + count};
                    for (Index i = 0; i < s.side; ++i) {
                        const Index row = f * s.filter() + i * s.row();
                        in_vectors(vectors, [&](auto count, Index first) {
                            by_weights_of<count.value>(taken.data() + i * line + first, chosen, sums + row + first);
                            if (by_x != nullptr)
                                by_inputs_of<count.value>(taps.data() + row + first, chosen, given.data() + i * line + first);
                        });
                    }
                }
                if (by_x != nullptr)
                    for (Index i = 0; i < s.inputs(); ++i) store(by_x[n * s.inputs() + i], given[i]);
            }
        }
    }
    std::vector<float> total(numbers, 0.0f);
    for (Index chunk = 0; chunk < chunks; ++chunk)
        for (Index i = 0; i < numbers; ++i) total[i] += parts[chunk * numbers + i];
    for (Index f = 0; f < s.filters; ++f) {
        by_bias[f] = total[s.filters * s.filter() + f];
        for (Index c = 0; c < s.channels; ++c)
            for (Index i = 0; i < s.side; ++i)
                for (Index j = 0; j < s.side; ++j)
                    by_weights[((f * s.channels + c) * s.side + i) * s.side + j] =
                        total[f * s.filter() + i * s.row() + j * s.channels + c];
    }
}

Shape shape_of(const Index *shape) {
    return Shape{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], shape[7]};
}

}  // namespace

extern "C" {

// `kind`: of pictures, results and their gradients; weights (filter × channel × row × column) and biases are floats.
// `shape`: pictures, height, width and channels of the input, filters, side of their square kernel (step 1, no padding),
// height and width of the output. `winners`: a byte for each output.
void deeper_pooled_forward(int kind, const void *x, Index x_stride, void *y, void *winners, const Index *shape,
                           int threads) {
    const auto run = [&](auto element) {
        using T = decltype(element);
        pool(static_cast<const T *>(x), x_stride, static_cast<T *>(y), static_cast<std::uint8_t *>(winners),
             shape_of(shape), threads);
    };
    if (kind == BF16) run(bf16{});
    else run(float{});
}

// `by_x`: null where nobody asks.
void deeper_pooled_backward(int kind, const void *gradient, Index gradient_stride, const void *winners, const void *x,
                            Index x_stride, const void *weights, void *by_x, void *by_weights, void *by_bias,
                            const Index *shape, int threads) {
    const auto run = [&](auto element) {
        using T = decltype(element);
        backward(static_cast<const T *>(gradient), gradient_stride, static_cast<const std::uint8_t *>(winners),
                 static_cast<const T *>(x), x_stride, static_cast<const float *>(weights), static_cast<T *>(by_x),
                 static_cast<float *>(by_weights), static_cast<float *>(by_bias), shape_of(shape), threads);
    };
    if (kind == BF16) run(bf16{});
    else run(float{});
}

}  // extern "C"
