import { describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import {
  ConfigurationError,
  describeError,
  EmailTakenError,
  PortalSsoError,
  toProblem,
} from '../../lib/shared/errors.ts'

describe('describeError', () => {
  it('joins the messages of all causes, and adds codes that the messages lack', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' })
    const failed = Object.assign(new Error('fetch failed', { cause: refused }), { code: 'FETCH' })
    expect(describeError(new PortalSsoError('provider_unavailable', 'the provider', { cause: failed }))).toBe(
      'the provider (provider_unavailable): fetch failed (FETCH): connect ECONNREFUSED 127.0.0.1:5432',
    )
  })

  it('omits other properties of errors, which may contain tokens', () => {
    const payload = { id_token: 'a-token', headers: { authorization: 'a-token' } }
    const library = Object.assign(new Error('unexpected claims', { cause: payload }), {
      response: payload,
      body: payload,
      claims: payload,
      code: payload,
    })
    const text = describeError(new PortalSsoError('response_invalid', 'the response', { cause: library }))
    expect(text).toBe('the response (response_invalid): unexpected claims')
  })

  it('omits the values of a failed SQL statement, even with a Knex instance of the host', async () => {
    const knex = knexModule(sqliteConfig(':memory:'))
    const row = { email: 'ada@example.com', name: 'Ada - Lovelace' }
    for (const refused of [
      knex('nowhere').insert(row),
      knex('nowhere').where(row).first(),
      knex('nowhere').where({ email: row.email }).update(row),
      knex('nowhere').where(row).delete(),
      knex.with('w', knex('nowhere').where(row)).from('w').select(),
    ])
      expect(await refused.then(String, describeError)).toBe('no such table: nowhere (SQLITE_ERROR)')
    await knex.destroy()
  })

  it('terminates for an error that is its own cause', () => {
    const error = new Error('again')
    error.cause = error
    expect(describeError(error)).toBe('again: again: again: again: again')
  })

  it.each([
    ['a text', 'a text'],
    [undefined, 'undefined'],
    [null, 'null'],
    [new Error(''), 'Error'],
    [{ id_token: 'a-token' }, '[object Object]'],
  ])('accepts a thrown %p', (thrown, text) => {
    expect(describeError(thrown)).toBe(text)
  })
})

describe('toProblem', () => {
  it('returns our own errors unchanged', () => {
    const problem = new PortalSsoError('user_inactive', 'for the log')
    expect(toProblem(problem)).toBe(problem)
    expect(problem.status).toBe(403)
  })

  it.each([
    [{ code: 'ECONNREFUSED' }, 'database_unavailable'],
    [{ code: '57P01' }, 'database_unavailable'],
    [{ code: '53300' }, 'database_unavailable'],
    [{ code: 'SQLITE_BUSY' }, 'database_unavailable'],
    [{ name: 'KnexTimeoutError' }, 'database_unavailable'],
    [{ message: 'Connection terminated unexpectedly' }, 'database_unavailable'],
    [{ message: 'select * from "sso_providers" - Query read timeout' }, 'database_unavailable'],
    [{ message: "select 'a - Query read timeout' - column does not exist" }, 'internal'],
    [{ status: 413 }, 'request_invalid'],
    [{ status: 400 }, 'request_invalid'],
    [{ status: 500 }, 'internal'],
    [{ code: '23505' }, 'internal'],
    [{}, 'internal'],
  ])('turns %j into %s', (properties, code) => {
    expect(toProblem(Object.assign(new Error('secret detail'), properties))).toMatchObject({ code })
  })

  it('turns a wrong configuration into a general sentence, too', () => {
    expect(toProblem(new ConfigurationError('write this'))).toMatchObject({
      code: 'misconfigured',
      status: 500,
      message: 'the application',
    })
  })

  it.each([undefined, null, 'a text', 42, new EmailTakenError()])(
    'turns %p into a general error without details',
    (thrown) => {
      expect(toProblem(thrown)).toMatchObject({
        code: 'internal',
        status: 500,
        message: 'an unexpected error',
      })
    },
  )
})
