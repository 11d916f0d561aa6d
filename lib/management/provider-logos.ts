import { createHash } from 'node:crypto'
import type { RequestHandler } from 'express'
import type { Knex } from 'knex'
import { LRUCache } from 'lru-cache'
import { inTransaction } from '../database/connect.ts'
import type { LogoImage } from '../providers/logo-image.ts'
import type { Provider } from '../providers/provider.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import { MINUTE } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler, inSequence, setAssetHeaders } from '../web/handler.ts'
import type { ManagementContext } from './context.ts'

/** Replaces a provider's logo. No sign-in changes, so the version stays. @param logo `undefined`: removes it */
export async function setProviderLogo(
  { events, knex, providersTable }: Pick<ManagementContext, 'events' | 'knex' | 'providersTable'>,
  slug: string,
  logo: LogoImage | undefined,
  { portal, actor }: ResolvedActOptions,
): Promise<void> {
  const { id: provider_id, logoHash } = await providersTable.get(portal, slug)
  const hash = logo && hashLogo(provider_id, logo)
  if (hash === logoHash) return
  await inTransaction(knex, async (transaction) => {
    const logos = () => transaction('sso_provider_logos')
    if (logo) {
      const row = { provider_id, hash, type: logo.type, image: logo.image.toString('base64') }
      await logos().insert(row).onConflict('provider_id').merge()
    } else await logos().where({ provider_id }).delete()
    await transaction('sso_providers')
      .where({ id: provider_id })
      .update({ logo_hash: hash ?? null, updated_at: new Date().toISOString() })
  })
  const detail = { change: logo ? 'logo' : 'logo removed' }
  await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
}

/**
 * Attacker: somebody who has the same file, and wants to learn which portals use it, also in drafts. The row's random id makes the
 * hash unguessable and different for each provider.
 */
export function hashLogo(providerId: string, { image }: LogoImage): string {
  return createHash('sha256').update(providerId).update(image).digest('base64url').slice(0, 22)
}

/** The logo of a provider in base64, for a file of exported providers. */
export async function encodedLogo(knex: Knex, { id, logoHash }: Provider): Promise<string | undefined> {
  if (logoHash === undefined) return undefined
  const row = await knex('sso_provider_logos').select('image').where({ provider_id: id }).first()
  return row?.image
}

/** Bytes. A logo that is shown often is read once a minute. */
const cacheSize = 4 * 1024 * 1024

/**
 * `GET /login/assets/providers/:hash`: the logos of the portal's providers. Even if an attacker got another file into the table, no
 * browser would run it: the type is fixed, and the policy allows nothing.
 *
 * @param limit counts the requests that reach the database
 */
export function logoRoute({ breakers, knex, portalOf }: Core, limit: RequestHandler): RequestHandler {
  const logos = new LRUCache<string, LogoImage>({
    maxSize: cacheSize,
    ttl: MINUTE,
    sizeCalculation: ({ image }) => image.length,
  })
  const find = async (portal: string, hash: string): Promise<LogoImage | undefined> => {
    if (!/^[\w-]{22}$/.test(hash)) return undefined
    const row: { type: string; image: string } | undefined = await knex('sso_provider_logos')
      .join('sso_providers', { id: 'provider_id', logo_hash: 'hash' })
      .select('type', 'image')
      .where({ portal, hash })
      .whereNull('removed_at')
      .first()
    if (!row) return undefined
    const type = row.type === 'image/webp' ? row.type : 'image/png'
    return { type, image: Buffer.from(row.image, 'base64') }
  }
  return asyncHandler(async (req, res, next) => {
    const portal = portalOf(req)
    const { hash } = req.params
    const key = JSON.stringify([portal, hash])
    const send = (logo: LogoImage | undefined) => {
      res.removeHeader('x-powered-by')
      res.setHeader('x-content-type-options', 'nosniff')
      res.setHeader('content-security-policy', "default-src 'none'; sandbox")
      if (!logo) return void res.status(404).set('cache-control', 'no-store').end()
      setAssetHeaders(res)
      res.setHeader('cross-origin-resource-policy', 'same-origin')
      res.setHeader('content-type', logo.type)
      res.end(logo.image)
    }
    const cached = logos.get(key)
    if (cached) return send(cached)
    const read = asyncHandler(async () => {
      const found = await breakers.database.run(() => find(portal, String(hash)))
      if (found) logos.set(key, found)
      send(found)
    })
    inSequence(limit, read)(req, res, next)
  })
}
