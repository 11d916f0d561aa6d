import config from './jest.config.js'

// A mutant that only a thousand tries would find has no test that says what it breaks.
process.env.FUZZ_RUNS ??= '100'
process.env.FUZZ_SHRINK ??= 'no'

/** For mutation runs: what judges the mutated files, and no Redis, PostgreSQL or Chromium, which none of it needs. */
export default {
  ...config,
  globalSetup: undefined,
  globalTeardown: undefined,
  reporters: [],
  testMatch: [
    '<rootDir>/test/{decide,identity,provider-strategy,return-to,logout-*}.test.ts',
    '<rootDir>/test/properties-{claims,text}.test.ts',
  ],
}
