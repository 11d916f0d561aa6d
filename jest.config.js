/** @type {import('jest').Config} */
export default {
  testEnvironment: '<rootDir>/test/support/watchful-environment.js',
  // `lib` is a root so that files no test loads still count in the coverage.
  roots: ['<rootDir>/lib', '<rootDir>/test'],
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        module: { type: 'es6' },
        jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
      },
    ],
  },
  collectCoverageFrom: ['lib/**/*.ts'],
  coverageProvider: 'babel',
  globalSetup: '<rootDir>/test/support/set-up.ts',
  globalTeardown: '<rootDir>/test/support/tear-down.ts',
  // Long enough for a machine with a load average of 20; no test waits for it.
  testTimeout: 300_000,
  // Tests wait more than they compute.
  maxWorkers: 3,
  testSequencer: '<rootDir>/test/support/slowest-first.js',
  reporters: ['default', '<rootDir>/test/support/closing-line.js'],
  // EXPRESS=4 runs the same tests against Express 4 (devDependency express4@npm:express@4).
  moduleNameMapper: process.env.EXPRESS === '4' ? { '^express$': 'express4' } : {},
  // Jest's VM modules keep about 20 MB of heap per test file: recycle fat workers.
  workerIdleMemoryLimit: '800MB',
}
