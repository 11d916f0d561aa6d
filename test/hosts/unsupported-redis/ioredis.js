import { createPortalSso } from 'express-portal-sso'
import { Redis } from 'ioredis'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL } = process.env
const redis = new Redis(REDIS_URL)
await createPortalSso({ baseUrl: BASE_URL, secret: SSO_SECRET, database: DATABASE_URL, redis })
console.log('Listening')
