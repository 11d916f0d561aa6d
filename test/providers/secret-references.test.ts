import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import {
  type SecretReferenceOptions,
  SecretReferences,
  secretReference,
} from '../../lib/providers/secret-references.ts'
import { ManagementError } from '../../lib/shared/errors.ts'

const secret = 'the secret that must not leak'
let folder: string
let allowed: string
let outside: string

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-secrets-'))
  allowed = path.join(folder, 'allowed')
  outside = path.join(folder, 'allowed-not')
  for (const each of [allowed, outside, path.join(allowed, 'folder'), path.join(allowed, '..data')])
    fs.mkdirSync(each)
  const files = {
    [path.join(allowed, 'acme')]: `${secret}\n`,
    [path.join(allowed, '..data', 'rotated')]: secret,
    [path.join(allowed, 'large')]: 'x'.repeat(10_001),
    [path.join(allowed, 'nul')]: `${secret}\0`,
    [path.join(allowed, 'lines')]: `${secret}\nof two lines`,
    [path.join(allowed, 'empty')]: ' \n',
    [path.join(outside, 'db')]: secret,
  }
  for (const [file, content] of Object.entries(files)) fs.writeFileSync(file, content)
  fs.symlinkSync('..data/rotated', path.join(allowed, 'rotated'))
  fs.symlinkSync(path.join(outside, 'db'), path.join(allowed, 'leads-out'))
  fs.symlinkSync(outside, path.join(allowed, 'folder-out'))
  fs.symlinkSync(allowed, path.join(folder, 'linked'))
  execFileSync('mkfifo', [path.join(allowed, 'pipe')])
  Object.assign(process.env, {
    ACME_CLIENT_SECRET: secret,
    AWS_SSO_X: secret,
    SSO_EMPTY: '',
    SSO_LINES: `${secret}\nof two lines`,
  })
})
afterAll(() => {
  fs.rmSync(folder, { recursive: true })
  for (const name of ['ACME_CLIENT_SECRET', 'AWS_SSO_X', 'SSO_EMPTY', 'SSO_LINES']) delete process.env[name]
})

const read = (reference: string, options?: SecretReferenceOptions) =>
  new SecretReferences(options).read(reference)

describe('a secret reference is read', () => {
  it.each<[what: string, reference: () => string, options: () => SecretReferenceOptions]>([
    [
      'from an allowed environment variable',
      () => 'env:ACME_CLIENT_SECRET',
      () => ({ env: /\w+_CLIENT_SECRET/ }),
    ],
    [
      'with an expression that has flags',
      () => 'env:ACME_CLIENT_SECRET',
      () => ({ env: /acme_client_secret/giy }),
    ],
    [
      'from a file, without its last line break',
      () => `file:${allowed}/acme`,
      () => ({ directories: [allowed] }),
    ],
    ['through a link inside the folder', () => `file:${allowed}/rotated`, () => ({ directories: [allowed] })],
    [
      'if the allowed folder is itself a link',
      () => `file:${allowed}/acme`,
      () => ({ directories: ['/nowhere', path.join(folder, 'linked')] }),
    ],
  ])('%s', async (_what, reference, options) => {
    // Read twice, because an expression with the flag g keeps its `lastIndex`.
    const references = new SecretReferences(options())
    expect(await references.read(reference())).toBe(secret)
    expect(await references.read(reference())).toBe(secret)
  })
})

describe('a secret reference is rejected, and its content is not quoted,', () => {
  it.each<[what: string, reference: () => string, options: () => SecretReferenceOptions]>([
    ['if it is a variable and no options are set', () => 'env:ACME_CLIENT_SECRET', () => ({})],
    ['if it is a file and no options are set', () => `file:${allowed}/acme`, () => ({})],
    ['if the expression matches only a part of the name', () => 'env:AWS_SSO_X', () => ({ env: /SSO/ })],
    [
      'if one alternative matches the end of the name',
      () => 'env:AWS_SSO_X',
      () => ({ env: /^SSO_A|SSO_X$/ }),
    ],
    ['if a line of the name matches', () => 'env:ACME\nAWS_SSO_X', () => ({ env: /ACME/m })],
    ['if the file is outside the folder', () => `file:${outside}/db`, () => ({ directories: [allowed] })],
    [
      'if the path leads out of the folder',
      () => `file:${allowed}/../allowed-not/db`,
      () => ({ directories: [allowed] }),
    ],
    [
      'if the path leads out of the folder and back',
      () => `file:${allowed}/../allowed/acme`,
      () => ({ directories: [allowed] }),
    ],
    [
      'if the file is a link to another folder',
      () => `file:${allowed}/leads-out`,
      () => ({ directories: [allowed] }),
    ],
    [
      'if its folder is a link to another folder',
      () => `file:${allowed}/folder-out/db`,
      () => ({ directories: [allowed] }),
    ],
    ['if the path is relative', () => 'file:acme', () => ({ directories: [allowed] })],
    ['if the path contains NUL', () => `file:${allowed}/acme\0`, () => ({ directories: [allowed] })],
    [
      'if it is a path without the prefix `file:`',
      () => `${allowed}/acme`,
      () => ({ directories: [allowed] }),
    ],
  ])('%s', async (_what, reference, options) => {
    const error = await read(reference(), options()).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ManagementError)
    expect(error).toMatchObject({ code: 'not_allowed', issues: [{ path: 'clientSecretReference' }] })
    expect((error as Error).message).not.toContain(secret)
  })

  it.each<[what: string, reference: () => string, directory?: string]>([
    ['if it is a folder', () => `file:${allowed}/folder`],
    ['if it is a pipe, which would block until data is written', () => `file:${allowed}/pipe`],
    ['if it is a device, which never ends', () => 'file:/dev/zero', '/dev'],
    ['if it is larger than 10,000 bytes', () => `file:${allowed}/large`],
    ['if it contains NUL', () => `file:${allowed}/nul`],
    ['if it has several lines', () => `file:${allowed}/lines`],
    ['if it is empty', () => `file:${allowed}/empty`],
    ['if the variable is missing', () => 'env:SSO_MISSING'],
    ['if the variable is empty', () => 'env:SSO_EMPTY'],
    ['if the variable has several lines', () => 'env:SSO_LINES'],
    // Jest would pass `done` as the third parameter for rows of two values.
  ])('%s', async (...[, reference, directory]) => {
    const options = { env: /SSO_\w+/, directories: [directory ?? allowed] }
    const error = await read(reference(), options).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ManagementError)
    expect(error).toMatchObject({ code: 'invalid', issues: [{ path: 'clientSecretReference' }] })
    expect((error as Error).message).not.toContain(secret)
  })

  it('if the file does not exist, with the same message as for a file that is not allowed', async () => {
    const options = { directories: [allowed] }
    for (const file of [`${allowed}/missing`, `${outside}/missing`, `${outside}/db`])
      await expect(read(`file:${file}`, options)).rejects.toThrow(
        `the option secretReferences.directories does not allow file:${file}, or it does not exist`,
      )
  })
})

it.each([
  'ACME',
  'env:',
  'env:1A',
  'env:A-B',
  'env:A\n',
  'file:',
  'file:acme',
  'file:/a\nb',
  'file:/a\0',
  'http://a',
])('%j is not a secret reference', (text) => {
  expect(secretReference.safeParse(text).success).toBe(false)
})
