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
    '<rootDir>/test/{oidc/{id-token,identity,logout-token,provider-error},sign-in/{decide,reauthentication-rules,provider-strategy},web/return-to,providers/issuer}.test.ts',
  ],
}
