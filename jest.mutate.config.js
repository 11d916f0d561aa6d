import config from './jest.config.js'

/**
 * For mutation runs: the tests that say in sentences what the mutated files do, and no Redis, PostgreSQL or Chromium, which none
 * of them needs. Not the properties: they kill by chance and cost seconds for each mutant.
 */
export default {
  ...config,
  // Stryker brings its own, which sees what each test covers, and knows only this one.
  testEnvironment: 'node',
  globalSetup: undefined,
  globalTeardown: undefined,
  reporters: [],
  testMatch: [
    '<rootDir>/test/{decide,freshness,id-token,identity,logout-token,provider-strategy,quote,return-to,templated-issuer}.test.ts',
  ],
}
