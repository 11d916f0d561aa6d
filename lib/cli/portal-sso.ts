#!/usr/bin/env node
import { formatError } from './output.ts'
import { buildProgram } from './program.ts'

const json = process.argv.includes('--json')

// `portal-sso doctor | head` closes the pipe early; this is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

buildProgram(json)
  .parseAsync()
  .catch((error: unknown) => {
    console.error(formatError(error, { json }))
    process.exitCode = 1
  })
