import fc from 'fast-check'

const runs = Number(process.env.FUZZ_RUNS ?? 1000)
const seed = Number(process.env.FUZZ_SEED ?? 8)

/**
 * How often a property is tried. The seed stays the same, so that a failure comes back; it is printed with one.
 * FUZZ_RUNS tries longer than the 1000 by default, FUZZ_SEED elsewhere.
 *
 * @param share of all runs, less than 1 for what takes long
 */
export function effort(share = 1): { numRuns: number; seed: number } {
  return { numRuns: Math.max(1, Math.ceil(runs * share)), seed }
}

/** Text that is good for trouble: pieces with a meaning to some parser, in any order, among any others. */
export function textOf(pieces: readonly string[], maxLength = 12): fc.Arbitrary<string> {
  const piece = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...pieces) },
    { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
    // Half of a surrogate pair: no character at all, and JSON can write it.
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) },
  )
  return fc.array(piece, { maxLength }).map((all) => all.join(''))
}
