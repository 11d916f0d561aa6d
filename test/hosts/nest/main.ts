import 'reflect-metadata'
import {
  Controller,
  Get,
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  Req,
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { NestExpressApplication } from '@nestjs/platform-express'
import type { Request } from 'express'
import { createPortalSso, type PortalSso } from 'express-portal-sso'
import { createClient } from 'redis'

declare global {
  namespace Express {
    interface User {
      id: string
      email: string
      name: string
    }
  }
}

const PORTAL_SSO = Symbol('PortalSso')

async function startSso(): Promise<PortalSso> {
  const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET } =
    process.env as Record<string, string>
  const redis = await createClient({ url: REDIS_URL }).connect()
  const sso = await createPortalSso({
    baseUrl: BASE_URL,
    secret: SSO_SECRET,
    database: DATABASE_URL,
    redis,
  })
  if (!(await sso.providers.find('acme')))
    await sso.providers.connect({
      slug: 'acme',
      displayName: 'Acme',
      issuer: ISSUER,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
    })
  return sso
}

@Controller('portal')
class PortalController {
  @Get()
  show(@Req() req: Request): string {
    return `Hello ${req.user?.email}`
  }
}

@Module({ controllers: [PortalController], providers: [{ provide: PORTAL_SSO, useFactory: startSso }] })
class AppModule implements NestModule {
  constructor(@Inject(PORTAL_SSO) private readonly sso: PortalSso) {}

  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(this.sso.guard()).forRoutes(PortalController)
  }
}

async function start(): Promise<void> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule)
  const sso = app.get<PortalSso>(PORTAL_SSO)
  // Before `listen`, so that they run before Nest's own routes.
  app.use(sso.session())
  app.use(sso.router())
  await app.listen(Number(process.env.PORT))
  console.log('Listening')
}

void start()
