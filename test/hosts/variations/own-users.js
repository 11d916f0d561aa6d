import express from 'express'
import { createPortalSso, EmailTakenError } from 'express-portal-sso'
import knexModule from 'knex'
import { createClient } from 'redis'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env

const knex = knexModule({ client: 'pg', connection: DATABASE_URL })
if (!(await knex.schema.hasTable('customers')))
  await knex.schema.createTable('customers', (table) => {
    table.increments('id')
    table.string('email').notNullable().unique()
    table.string('full_name').notNullable()
    table.string('password_hash')
    table.boolean('locked').notNullable().defaultTo(false)
  })

const toUser = (row) =>
  row && { id: String(row.id), email: row.email, name: row.full_name, active: !row.locked }

const users = {
  async findById(id) {
    if (!/^\d{1,9}$/.test(id)) return undefined // Administrators may search for any text.
    return toUser(await knex('customers').where({ id }).first())
  },
  findByEmail: async (email) => toUser(await knex('customers').where({ email }).first()),
  async create({ email, name }) {
    const row = { email, full_name: name }
    const [created] = await knex('customers').insert(row).onConflict('email').ignore().returning('*')
    if (!created) throw new EmailTakenError() // Another registration for this address was faster.
    return toUser(created)
  },
  // Another person may have registered this address with a password of theirs.
  async onLinked({ id }, { firstLink }) {
    if (firstLink) await knex('customers').where({ id }).update({ password_hash: null })
  },
}

const redis = await createClient({ url: REDIS_URL }).connect()
const sso = await createPortalSso({ baseUrl: BASE_URL, secret: SSO_SECRET, database: knex, redis, users })
if (!(await sso.providers.find('acme')))
  await sso.providers.connect({
    slug: 'acme',
    displayName: 'Acme',
    issuer: ISSUER,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
  })

const app = express()
app.use(sso.session())
app.use(sso.router())
app.use('/portal', sso.guard(), (req, res) => res.type('text').send(`Hello ${req.user.email}`))
app.listen(PORT, () => console.log('Listening'))
