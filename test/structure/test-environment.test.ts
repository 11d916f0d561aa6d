import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { beforeAll, describe, expect, it } from '@jest/globals'

const root = path.resolve(import.meta.dirname, '../..')

/** Test files whose only test passes, but leaves something behind. */
const files: Record<string, string> = {
  nothing: `await 0`,
  'an immediate rejection': `Promise.reject(new Error('left behind'))`,
  'a rejection after its end': `setTimeout(() => Promise.reject(new Error('left behind')), 5)`,
  'an exception in the callback of a socket': `
    const { createServer } = await import('node:http')
    const server = createServer((_req, res) => {
      res.end()
      setTimeout(() => { throw new Error('left behind') }, 5)
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    await fetch('http://127.0.0.1:' + server.address().port)
    server.close()`,
  'too many listeners': `
    const { EventEmitter } = await import('node:events')
    const leaking = new EventEmitter()
    for (let n = 0; n < 20; n++) leaking.on('left behind', () => {})`,
}

interface Outcome {
  numPassedTests: number
  testResults: { name: string; status: string; message: string }[]
}

let outcome: Outcome

beforeAll(async () => {
  const project = await fs.mkdtemp(path.join(os.tmpdir(), 'portal-sso-watchful-'))
  await fs.writeFile(path.join(project, 'package.json'), '{"type":"module"}')
  const config = {
    rootDir: project,
    testEnvironment: path.join(root, 'test/support/watchful-environment.js'),
    transform: {},
  }
  await Promise.all(
    Object.entries(files).map(([name, code]) =>
      fs.writeFile(path.join(project, `${name}.test.js`), `test('it passes', async () => {${code}\n})`),
    ),
  )
  const jest = path.join(root, 'node_modules/jest/bin/jest.js')
  const child = spawn(
    process.execPath,
    ['--experimental-vm-modules', jest, '--json', '--config', JSON.stringify(config)],
    { cwd: project, stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const [answer] = await Promise.all([text(child.stdout), once(child, 'exit')])
  outcome = JSON.parse(answer) as Outcome
  await fs.rm(project, { recursive: true })
})

describe('a test file whose test passes, but leaves behind', () => {
  it.each(Object.keys(files))('%s', (name) => {
    const { status, message } = outcome.testResults.find((file) => file.name.endsWith(`/${name}.test.js`))!
    expect(status).toBe(name === 'nothing' ? 'passed' : 'failed')
    if (name !== 'nothing') expect(message).toContain('left behind')
  })
})
