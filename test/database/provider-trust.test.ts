import { describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import * as initial from '../../lib/database/migrations/001-initial.ts'
import * as providerTrust from '../../lib/database/migrations/004-provider-trust.ts'
import { everyDatabase } from '../support/databases.ts'

describe.each(everyDatabase)('the migration of the trust in providers, on %s,', (_name, fresh) => {
  it('turns parameters that were only sent into settings that are enforced', async () => {
    const { config, drop } = await fresh()
    const knex = knexModule(config)
    try {
      await initial.up(knex)
      const parameters: Record<string, object> = {
        plain: { ui_locales: 'de' },
        recent: { max_age: '3600', ui_locales: 'de' },
        strong: { acr_values: ' mfa phr ' },
        invalid: { max_age: 'soon' },
      }
      for (const [slug, each] of Object.entries(parameters))
        await knex('sso_providers').insert({
          id: slug,
          portal: 'default',
          slug,
          preset: 'generic',
          display_name: slug,
          issuer: 'https://id.acme.example',
          client_id: 'portal',
          client_authentication: 'none',
          signing_algorithm: 'RS256',
          authorization_parameters: JSON.stringify(each),
          email_claim: 'email',
          trusts_email: false,
          email_domains: '[]',
          enabled: true,
          recommended: false,
          position: 0,
          test_sign_in_at: '2026-01-01T00:00:00.000Z',
          version: 1,
          created_at: '2026-01-01T00:00:00.000Z',
          updated_at: '2026-01-01T00:00:00.000Z',
        })
      await providerTrust.up(knex)
      const columns = ['slug', 'authorization_parameters', 'max_age', 'acr', 'version', 'test_sign_in_at']
      const rows = await knex('sso_providers').select(columns).orderBy('slug')
      const changed = { version: 2, test_sign_in_at: null }
      expect(rows).toEqual([
        { slug: 'invalid', authorization_parameters: '{}', max_age: null, acr: '[]', ...changed },
        {
          slug: 'plain',
          authorization_parameters: '{"ui_locales":"de"}',
          max_age: null,
          acr: null,
          version: 1,
          test_sign_in_at: '2026-01-01T00:00:00.000Z',
        },
        {
          slug: 'recent',
          authorization_parameters: '{"ui_locales":"de"}',
          max_age: 3600,
          acr: '[]',
          ...changed,
        },
        { slug: 'strong', authorization_parameters: '{}', max_age: null, acr: '["mfa","phr"]', ...changed },
      ])
    } finally {
      await knex.destroy()
      await drop()
    }
  })
})
