/** @slow runs a process for each command */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import { type Cli, startCli } from '../support/cli.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'

describe('portal-sso doctor noauth', () => {
  let provider: FaultyProvider
  let cli: Cli

  beforeAll(async () => {
    provider = await startFaultyProvider()
    cli = await startCli(provider.clientSecret)
  })
  afterAll(async () => {
    cli.close()
    await provider.close()
  })
  beforeEach(() => cli.renew())

  const connect = (...inputs: (Partial<ProviderInput> & { portal?: string })[]) =>
    cli.fromCode(async ({ providers }) => {
      const { issuer, clientId, clientSecret } = provider
      for (const { portal, ...input } of inputs)
        await providers.connect({ slug: 'acme', issuer, clientId, clientSecret, ...input }, { portal })
    })

  const run = (...flags: string[]) => cli.run(['doctor', 'noauth', ...flags])

  it('lists what stops each attack, provider by provider, and exits with 0 if all attacks fail', async () => {
    await connect(
      { displayName: 'Acme AG', emailDomains: ['acme.example'] },
      { slug: 'second', enabled: false, emailDomains: ['acme.example'] },
    )
    const { code, stdout, stderr } = await run()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('Provider acme (Acme AG)\n  ✓ an unverified address')
    expect(stdout).toContain('Provider second (second, disabled)\n')
    expect(stdout).toContain('a verified address of a domain that the settings do not list: stopped')
    expect(stdout).toMatch(/\nNo provider lets an attack through\.\n$/)
    expect(stdout).not.toMatch(/[✗!→]/)
  })

  it('names the provider that lets an attack through, prints each hint once, and exits with 1', async () => {
    await connect({ emailDomains: ['acme.example'] }, { slug: 'loose', portal: 'shop', trustsEmail: true })
    const { code, stdout } = await run()
    expect(code).toBe(1)
    expect(stdout).toContain('Provider loose of portal shop (loose)\n  ✗ an unverified address')
    expect(stdout.match(/→ list the domains that you trust it for/g)).toHaveLength(1)
    expect(stdout).toContain('! it vouches for every address; there is no domain limit')
    expect(stdout).toMatch(/\nThese providers let an attack through: loose\.\n$/)
    expect((await run('--portal', 'default')).code).toBe(0)
  })

  it('prints the same results as JSON', async () => {
    await connect({ trustsEmail: true })
    const { code, stdout } = await run('--json')
    expect(code).toBe(1)
    const [first, ...others] = JSON.parse(stdout) as object[]
    expect(others).toEqual([])
    expect(first).toMatchObject({ portal: 'default', slug: 'acme', displayName: 'acme', enabled: true })
    expect(first).toHaveProperty('checks.0', {
      name: 'unverified',
      result: 'failed',
      message: expect.stringMatching(/signed in as the owner of the address$/),
      hint: expect.any(String),
    })
  })

  it('has nothing to check without a connected provider', async () => {
    expect(await run()).toEqual({
      code: 0,
      stdout: 'No provider is connected, so there is nothing to check.\n',
      stderr: '',
    })
  })
})
