import { createPortalSso } from 'express-portal-sso'
import { createClient } from 'redis4'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL } = process.env
const redis = createClient({ url: REDIS_URL })
await redis.connect()
await createPortalSso({ baseUrl: BASE_URL, secret: SSO_SECRET, database: DATABASE_URL, redis })
console.log('Listening')
