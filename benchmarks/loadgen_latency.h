/* Part of loadgen.c. */

/* ---- latency: a histogram of nanoseconds with 128 steps to each power of two, so percentiles are exact to 0.8 % ---- */

enum { STEPS = 128, STEP_BITS = 7, BUCKETS = (64 - STEP_BITS + 1) * STEPS };

struct latency {
    uint64_t bucket[BUCKETS], total, max;
};

static void latency_add(struct latency *latency, int64_t nanoseconds)
{
    uint64_t value = nanoseconds > 0 ? (uint64_t)nanoseconds : 0;
    unsigned index = (unsigned)value;
    if (value >= STEPS) {
        unsigned shift = 63U - (unsigned)__builtin_clzll(value) - STEP_BITS;
        index = (shift + 1) * STEPS + ((unsigned)(value >> shift) - STEPS);
    }
    latency->bucket[index]++;
    latency->total++;
    if (value > latency->max)
        latency->max = value;
}

static double latency_at(const struct latency *latency, double share) /* µs, the upper edge of the bucket */
{
    uint64_t target = (uint64_t)(share * (double)latency->total), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += latency->bucket[i];
        if (seen > target) {
            unsigned shift = i < STEPS ? 0 : i / STEPS - 1;
            uint64_t edge = i < STEPS ? i + 1 : (uint64_t)(i % STEPS + STEPS + 1) << shift;
            return (double)(edge < latency->max ? edge : latency->max) / 1e3;
        }
    }
    return 0;
}

static void latency_print(const char *name, const struct latency *latency, const char *after)
{
    if (latency->total == 0)
        printf("\"%s\": null%s", name, after);
    else
        printf("\"%s\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}%s", name, latency_at(latency, .5),
               latency_at(latency, .9), latency_at(latency, .99), (double)latency->max / 1e3, after);
}
