import path from 'node:path'
import type { Browser } from './browser.ts'

/** A server that the benchmark compares. */
export interface Peer {
  name: string
  file: string
  env?: Record<string, string>
  /** signs the person in and opens the guarded page */
  signIn: (browser: Browser) => Promise<{ body: string }>
  picker?: string | undefined
}

const plugin = (folder: string) => ({
  file: 'portal-sso',
  env: { PLUGIN: path.resolve(folder, 'dist/index.js') },
  signIn: (browser: Browser) => browser.open('/login/one?returnTo=/portal'),
  picker: '/login',
})
const handWired = {
  file: 'hand-wired',
  signIn: (browser: Browser) => browser.open('/login/one'),
  picker: '/login',
}
const openidConnect = {
  file: 'express-openid-connect',
  signIn: (browser: Browser) => browser.open('/portal'),
}
export const baseline = 'hand-wired, user from database'
/** @param before another checkout of the plugin, with its build in `dist` */
export const listPeers = (before?: string): Peer[] => [
  { name: baseline, ...handWired },
  { name: 'hand-wired, user from session', ...handWired, env: { USER_FROM: 'session' } },
  { ...handWired, name: 'hand-wired, same checks', file: 'same-checks', picker: undefined },
  {
    name: 'bare Express',
    file: 'bare-express',
    signIn: (browser) => browser.open('/sign-in'),
    picker: '/login',
  },
  { name: 'express-openid-connect, Redis', ...openidConnect, env: { SESSIONS: 'redis' } },
  { name: 'express-openid-connect, cookie', ...openidConnect },
  {
    name: '@auth/express',
    file: 'auth-express',
    async signIn(browser) {
      const { csrfToken } = JSON.parse((await browser.request('/auth/csrf')).body) as { csrfToken: string }
      return browser.open('/auth/signin/one', { csrfToken, callbackUrl: '/portal' })
    },
    picker: '/auth/signin',
  },
  {
    name: 'Better Auth',
    file: 'better-auth',
    async signIn(browser) {
      const page = await browser.request('/api/auth/sign-in/social', {
        provider: 'one',
        callbackURL: '/portal',
      })
      return browser.open((JSON.parse(page.body) as { url: string }).url)
    },
  },
  { name: 'plugin', ...plugin('.') },
  ...(before ? [{ name: 'plugin before', ...plugin(before) }] : []),
]
