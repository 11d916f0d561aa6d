import express from 'express'
import { createPortalSso, EmailTakenError } from 'express-portal-sso'
import knexModule from 'knex'
import { knexSnakeCaseMappers, Model, UniqueViolationError } from 'objection'
import { createClient } from 'redis'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env

const knex = knexModule({ client: 'pg', connection: DATABASE_URL, ...knexSnakeCaseMappers() })
class Customer extends Model {
  static tableName = 'portalCustomers'
}
Model.knex(knex)
await knex.schema.createTable('portalCustomers', (table) => {
  table.string('id').primary()
  table.string('emailAddress').notNullable().unique()
  table.string('fullName').notNullable()
})

/** The columns are `email_address` and `full_name`; the mappers translate them. */
const toUser = (row) => row && { id: row.id, email: row.emailAddress, name: row.fullName, active: true }

const redis = await createClient({ url: REDIS_URL }).connect()
const sso = await createPortalSso({
  baseUrl: BASE_URL,
  secret: SSO_SECRET,
  database: knex,
  redis,
  users: {
    findById: async (id) => toUser(await Customer.query().findById(id)),
    findByEmail: async (email) => toUser(await Customer.query().findOne({ emailAddress: email })),
    async create({ email, name }) {
      const row = { id: crypto.randomUUID(), emailAddress: email, fullName: name }
      try {
        return toUser(await Customer.query().insertAndFetch(row))
      } catch (error) {
        // Two registrations for one address: the other one was faster.
        throw error instanceof UniqueViolationError ? new EmailTakenError() : error
      }
    },
  },
})
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
app.use('/portal', sso.guard(), async (req, res) => {
  const { emailAddress } = await Customer.query().findById(req.user.id)
  res.type('text').send(`Hello ${emailAddress}`)
})
app.listen(PORT, () => console.log('Listening'))
