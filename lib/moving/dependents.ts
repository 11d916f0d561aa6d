import type { Knex } from 'knex'
import type { Provider } from '../providers/provider.ts'

export interface Dependents {
  /**
   * How many people have signed in with a provider, and for how many of them nothing else is linked.
   *
   * @param enabled all enabled providers of its portal
   */
  of(provider: Provider, enabled: readonly Provider[]): Promise<{ people: number; onlyWayIn: number }>
}

export function createDependents(knex: Knex): Dependents {
  return {
    async of(provider, enabled) {
      const others = enabled.filter(({ id }) => id !== provider.id)
      const people = linkedThrough(knex, provider)
      // One of the same issuer may know its people by other subjects (Entra: one for each registration): only who has come in
      // by it has shown that he can.
      const otherWay = knex('sso_identities as other')
        .select(knex.raw('1'))
        .whereRaw('other.portal = linked.portal and other.user_id = linked.user_id')
        .where((way) =>
          way
            .whereIn('other.provider_id', ids(others))
            .orWhereIn('other.issuer', issuers(others, provider.issuer)),
        )
      const [all, only] = [await counted(people.clone()), await counted(people.whereNotExists(otherWay))]
      return { people: all, onlyWayIn: only }
    },
  }
}

/** Identities that came by a provider, whatever its row was then: a row that was connected anew has another id. */
export function linkedThrough(knex: Knex, { portal, id, issuer }: Provider): Knex.QueryBuilder {
  return knex('sso_identities as linked')
    .where('linked.portal', portal)
    .where((through) => through.where('linked.provider_id', id).orWhere('linked.issuer', issuer))
}

async function counted(people: Knex.QueryBuilder): Promise<number> {
  const row = await people.countDistinct({ people: 'linked.user_id' }).first()
  return Number(row?.people)
}

function ids(providers: readonly Provider[]): string[] {
  return providers.map(({ id }) => id)
}

function issuers(providers: readonly Provider[], except: string): string[] {
  return providers.map(({ issuer }) => issuer).filter((issuer) => issuer !== except)
}
