import fc from 'fast-check'

const runs = Number(process.env.FUZZ_RUNS ?? 1000)
const seed = Number(process.env.FUZZ_SEED ?? 8)

/**
 * The number of runs of a property, and a constant seed, so that failures are reproducible. FUZZ_RUNS (default 1000) and
 * FUZZ_SEED change them.
 *
 * @param share multiplies the number of runs: less than 1 for slow properties
 */
export function effort(share = 1): { numRuns: number; seed: number } {
  return { numRuns: Math.max(1, Math.ceil(runs * share)), seed }
}

/** Text of special pieces, such as delimiters, mixed with random characters. */
export function textOf(pieces: readonly string[], maxLength = 12): fc.Arbitrary<string> {
  const piece = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...pieces) },
    { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
    // A lone surrogate is not a character, but valid in JSON.
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) },
  )
  return fc.array(piece, { maxLength }).map((all) => all.join(''))
}
