// NielsenNet's first layers in one pass each way: a 5 × 5 convolution of pictures of few channels, the largest of each
// 2 × 2 of its results, ReLU. The results before the pool, four times as many as after it, are never stored.
//
// A vector's lanes are columns of the output: every second column of a picture, from one of the six on that a window's
// two results see. So the four results that one output is chosen from ("phases") are four vectors at the same place,
// choosing is one comparison each, and every vector is read from where a line of the cache begins.

#include <vector>

#include "kernels.h"

namespace {

constexpr Index SIDE = 5, TAPS = SIDE * SIDE, PHASES = 4, SHIFTS = SIDE + 1;
// Filters whose results are computed together: 4 × PHASES of them fit into registers.
constexpr Index TOGETHER = 4;
// Pictures whose gradients by the weights are summed together. Depends on nothing, so neither do results.
constexpr Index CHUNK = 8;
static_assert(CUT == PHASES);

typedef std::int32_t Whole __attribute__((vector_size(LANES * 4)));
typedef std::uint8_t Bytes __attribute__((vector_size(LANES)));

struct Shape {
    Index pictures, height, width, channels, filters, out_height, out_width, around;
    // Of a row of the output, in whole vectors.
    Index lanes() const { return (out_width + LANES - 1) / LANES * LANES; }
    Index padded_rows() const { return 2 * out_height + SIDE - 1; }
    // Of a row of the picture as `Planes` has it: all shifts.
    Index row() const { return SHIFTS * lanes(); }
    Index plane() const { return padded_rows() * row(); }
    Index groups() const { return (filters + TOGETHER - 1) / TOGETHER; }
};

struct Strides {
    Index picture, channel, row, column;
};

// One picture with its padding: channel × row × shift × lane, a lane `2 · lane + shift` columns right of the padding's
// first.
class Planes {
public:
    explicit Planes(Shape shape)
        : s(shape), half(s.lanes() + SHIFTS / 2), halves(2 * half), vectors(s.channels * s.plane() / LANES) {}

    const float *data() const { return reinterpret_cast<const float *>(vectors.data()); }

    void fill(const float *x, Strides strides) {
        float *to = reinterpret_cast<float *>(vectors.data());
        for (Index c = 0; c < s.channels; ++c)
            for (Index r = 0; r < s.padded_rows(); ++r, to += s.row()) {
                const Index row = r - s.around;
                if (row < 0 || row >= s.height) {
                    std::fill(to, to + s.row(), 0.0f);
                    continue;
                }
                // Even columns, then odd ones.
                std::fill(halves.begin(), halves.end(), 0.0f);
                const float *from = x + c * strides.channel + row * strides.row;
                const Index columns = std::min(s.width, 2 * half - s.around);
                for (Index i = 0; i < columns; ++i)
                    halves[(i + s.around) % 2 * half + (i + s.around) / 2] = from[i * strides.column];
                for (Index shift = 0; shift < SHIFTS; ++shift)
                    std::copy_n(halves.data() + shift % 2 * half + shift / 2, s.lanes(), to + shift * s.lanes());
            }
    }

private:
    Shape s;
    Index half;
    std::vector<float> halves;
    std::vector<Lanes> vectors;
};

// Calls `run` with each vector that the four results at one place see, with a phase and the tap that meets it there: each
// vector is read once.
template <typename Run>
inline void for_each_tap(const float *planes, Index lanes, Run run) {
#pragma GCC unroll 6
    for (Index r = 0; r < SHIFTS; ++r)
#pragma GCC unroll 6
        for (Index shift = 0; shift < SHIFTS; ++shift) {
            const Lanes value = at(planes + (r * SHIFTS + shift) * lanes);
#pragma GCC unroll 4
            for (Index phase = 0; phase < PHASES; ++phase) {
                const Index row = r - phase / 2, column = shift - phase % 2;
                if (row >= 0 && row < SIDE && column >= 0 && column < SIDE) run(value, phase, row * SIDE + column);
            }
        }
}

// The results of TOGETHER filters at one vector's place, of all phases. `planes`: at the first row and column that they see.
// LANES_OF_ROW: where the compiler may know how many there are, else 0.
template <Index LANES_OF_ROW>
inline void convolved(const float *planes, const float *weights, const float *bias, Shape s, Lanes (&sums)[PHASES][TOGETHER]) {
    for (Index f = 0; f < TOGETHER; ++f)
        for (Index phase = 0; phase < PHASES; ++phase) sums[phase][f] = Lanes{} + bias[f];
    const Index lanes = LANES_OF_ROW ? LANES_OF_ROW : s.lanes();
    for (Index c = 0; c < s.channels; ++c, planes += s.plane(), weights += TAPS * TOGETHER)
        for_each_tap(planes, lanes, [&](Lanes value, Index phase, Index tap) __attribute__((always_inline)) {
#pragma GCC unroll 4
            for (Index f = 0; f < TOGETHER; ++f) sums[phase][f] += weights[tap * TOGETHER + f] * value;
        });
}

// `weights` of each group of filters together: group × channel × tap × filter; what there is no filter for is zero.
std::vector<float> grouped(const float *weights, Shape s) {
    std::vector<float> result(s.groups() * s.channels * TAPS * TOGETHER, 0.0f);
    for (Index f = 0; f < s.filters; ++f)
        for (Index c = 0; c < s.channels; ++c)
            for (Index tap = 0; tap < TAPS; ++tap)
                result[((f / TOGETHER * s.channels + c) * TAPS + tap) * TOGETHER + f % TOGETHER] =
                    weights[(f * s.channels + c) * TAPS + tap];
    return result;
}

template <Index LANES_OF_ROW, typename T>
void forward(const float *x, Strides strides, const float *weights, const float *bias, T *y, std::uint8_t *winners,
             Shape s, int threads) {
    const std::vector<float> taps = grouped(weights, s);
    std::vector<float> biases(s.groups() * TOGETHER, 0.0f);
    std::copy(bias, bias + s.filters, biases.begin());
    const Index lanes = s.lanes();
#pragma omp parallel num_threads(threads)
    {
        Planes planes(s);
        std::vector<float> line(s.groups() * TOGETHER * lanes);
#pragma omp for schedule(static)
        for (Index n = 0; n < s.pictures; ++n) {
            planes.fill(x + n * strides.picture, strides);
            for (Index i = 0; i < s.out_height; ++i) {
                std::uint8_t *won = winners + (n * s.out_height + i) * s.filters * lanes;
                for (Index group = 0; group < s.groups(); ++group)
                    for (Index first = 0; first < lanes; first += LANES) {
                        Lanes sums[PHASES][TOGETHER];
                        convolved<LANES_OF_ROW>(planes.data() + 2 * i * s.row() + first, taps.data() + group * s.channels * TAPS * TOGETHER,
                                  biases.data() + group * TOGETHER, s, sums);
                        for (Index f = 0; f < TOGETHER; ++f) {
                            Lanes best = sums[0][f];
                            Whole phase{};
                            for (Index next = 1; next < PHASES; ++next) {
                                const Lanes value = sums[next][f];
                                // As in PyTorch a NaN wins, and only another one against it.
                                const Whole wins = (value > best) | (value != value);
                                best = wins ? value : best;
                                phase = wins ? Whole{} + static_cast<std::int32_t>(next) : phase;
                            }
                            const Whole cut = best <= Lanes{};
                            best = cut ? Lanes{} : best;
                            phase = cut ? Whole{} + static_cast<std::int32_t>(CUT) : phase;
                            const Index filter = group * TOGETHER + f;
                            std::memcpy(line.data() + filter * lanes + first, &best, sizeof best);
                            const Bytes remembered = __builtin_convertvector(phase, Bytes);
                            if (filter < s.filters)
                                std::memcpy(won + filter * lanes + first, &remembered, sizeof remembered);
                        }
                    }
                T *to = y + (n * s.out_height + i) * s.out_width * s.filters;
                for (Index column = 0; column < s.out_width; ++column, to += s.filters)
                    for (Index f = 0; f < s.filters; ++f) store(to[f], line[f * lanes + column]);
            }
        }
    }
}

// Adds one picture's gradients by one filter's weights over one channel, and by its bias, to `sums`, lanes apart.
template <Index LANES_OF_ROW>
inline void by_taps(const float *plane, const float *gradient, const std::uint8_t *winners, Shape s, Lanes *sums) {
    const Index lanes = LANES_OF_ROW ? LANES_OF_ROW : s.lanes();
    Lanes own[TAPS], whole_sum = sums[TAPS];
    for (Index tap = 0; tap < TAPS; ++tap) own[tap] = sums[tap];
    for (Index i = 0; i < s.out_height; ++i, gradient += s.filters * lanes, winners += s.filters * lanes)
        for (Index first = 0; first < lanes; first += LANES) {
            std::uint64_t halves[2];
            std::memcpy(halves, winners + first, sizeof halves);
            constexpr std::uint64_t ALL_CUT = 0x0101010101010101u * CUT;
            if (halves[0] == ALL_CUT && halves[1] == ALL_CUT) continue;
            Bytes remembered;
            std::memcpy(&remembered, winners + first, sizeof remembered);
            const Whole phase = __builtin_convertvector(remembered, Whole);
            const Lanes whole = at(gradient + first);
            Lanes part[PHASES];
            for (Index p = 0; p < PHASES; ++p) part[p] = phase == static_cast<std::int32_t>(p) ? whole : Lanes{};
            whole_sum += phase == static_cast<std::int32_t>(CUT) ? Lanes{} : whole;
            // 25 sums, four parts and one value: they fit into 32 registers.
            for_each_tap(plane + 2 * i * SHIFTS * lanes + first, lanes,
                         [&](Lanes value, Index p, Index tap) __attribute__((always_inline)) { own[tap] += part[p] * value; });
        }
    for (Index tap = 0; tap < TAPS; ++tap) sums[tap] = own[tap];
    sums[TAPS] = whole_sum;
}

template <Index LANES_OF_ROW, typename T>
void backward(const T *gradient, Index gradient_stride, const float *x, Strides strides, const std::uint8_t *winners,
              float *by_weights, float *by_bias, Shape s, int threads) {
    // A channel's share of a filter's numbers: what its taps get, and, alike for each channel, what the bias gets.
    constexpr Index SHARE = TAPS + 1;
    const Index lanes = s.lanes(), numbers = s.filters * s.channels * SHARE;
    const Index chunks = (s.pictures + CHUNK - 1) / CHUNK;
    std::vector<float> parts(chunks * numbers);
#pragma omp parallel num_threads(threads)
    {
        Planes planes(s);
        std::vector<float> turned(s.out_height * s.filters * lanes, 0.0f);
        std::vector<Lanes> sums(numbers);
#pragma omp for schedule(static)
        for (Index chunk = 0; chunk < chunks; ++chunk) {
            std::fill(sums.begin(), sums.end(), Lanes{});
            for (Index n = chunk * CHUNK; n < std::min(s.pictures, (chunk + 1) * CHUNK); ++n) {
                planes.fill(x + n * strides.picture, strides);
                const std::uint8_t *won = winners + n * s.out_height * s.filters * lanes;
                for (Index i = 0; i < s.out_height; ++i) {
                    const T *from = gradient + (n * s.out_height + i) * s.out_width * gradient_stride;
                    float *to = turned.data() + i * s.filters * lanes;
                    for (Index column = 0; column < s.out_width; ++column, from += gradient_stride)
                        for (Index f = 0; f < s.filters; ++f) to[f * lanes + column] = load(from[f]);
                }
                for (Index f = 0; f < s.filters; ++f)
                    for (Index c = 0; c < s.channels; ++c)
                        by_taps<LANES_OF_ROW>(planes.data() + c * s.plane(), turned.data() + f * lanes, won + f * lanes, s,
                                sums.data() + (f * s.channels + c) * SHARE);
            }
            for (Index number = 0; number < numbers; ++number)
                for (Index lane = 0; lane < LANES; ++lane) parts[chunk * numbers + number] += sums[number][lane];
        }
    }
    std::fill(by_weights, by_weights + s.filters * s.channels * TAPS, 0.0f);
    std::fill(by_bias, by_bias + s.filters, 0.0f);
    for (Index chunk = 0; chunk < chunks; ++chunk) {
        const float *own = parts.data() + chunk * numbers;
        for (Index f = 0; f < s.filters; ++f) {
            by_bias[f] += own[f * s.channels * SHARE + TAPS];
            for (Index c = 0; c < s.channels; ++c)
                for (Index tap = 0; tap < TAPS; ++tap)
                    by_weights[(f * s.channels + c) * TAPS + tap] += own[(f * s.channels + c) * SHARE + tap];
        }
    }
}

Shape shape_of(const Index *shape) {
    return Shape{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], shape[7]};
}
Strides strides_of(const Index *strides) { return Strides{strides[0], strides[1], strides[2], strides[3]}; }

}  // namespace

extern "C" {

// `kind`: of `y`; pictures, weights (filter × channel × row × column) and biases are floats. `strides`: of the pictures:
// from one to the next, from channel to channel, row, column. `winners`: picture × row × filter × lane, a byte each, the
// lanes of a row those of whole vectors. `shape`: pictures, height, width, channels, filters, height and width of the
// output, rows and columns of padding on each side.
void deeper_pictures_forward(int kind, const void *x, const Index *strides, const void *weights, const void *bias, void *y,
                           void *winners, const Index *shape, int threads) {
    const auto run = [&](auto element) {
        using T = decltype(element);
        const Shape s = shape_of(shape);
        const auto forward_ = s.lanes() == LANES ? forward<LANES, T> : forward<0, T>;
        forward_(static_cast<const float *>(x), strides_of(strides), static_cast<const float *>(weights),
                 static_cast<const float *>(bias), static_cast<T *>(y), static_cast<std::uint8_t *>(winners), s, threads);
    };
    if (kind == BF16) run(bf16{});
    else run(float{});
}

void deeper_pictures_backward(int kind, const void *gradient, Index gradient_stride, const void *x, const Index *strides,
                            const void *winners, void *by_weights, void *by_bias, const Index *shape, int threads) {
    const auto run = [&](auto element) {
        using T = decltype(element);
        const Shape s = shape_of(shape);
        const auto backward_ = s.lanes() == LANES ? backward<LANES, T> : backward<0, T>;
        backward_(static_cast<const T *>(gradient), gradient_stride, static_cast<const float *>(x), strides_of(strides),
                  static_cast<const std::uint8_t *>(winners), static_cast<float *>(by_weights),
                  static_cast<float *>(by_bias), s, threads);
    };
    if (kind == BF16) run(bf16{});
    else run(float{});
}

}  // extern "C"
