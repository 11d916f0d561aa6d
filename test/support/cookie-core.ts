import type { Seal } from '../../lib/shared/seal.ts'
import { instanceNames } from '../../lib/web/core.ts'
import type { CookieCore } from '../../lib/web/sealed-cookie.ts'
import { PortalUrls } from '../../lib/web/urls.ts'
import { sharedClock } from './clock.ts'

/** The part of a portal that seals cookies. */
export function cookieCore(
  seal: Seal,
  { secure = false, baseUrl = 'https://portal.example', mountPath = '/' } = {},
): CookieCore {
  const { cookieName } = instanceNames({ mountPath, secure, session: {} })
  const urls = new PortalUrls(baseUrl, mountPath)
  return { clock: sharedClock, cookieName, seal: () => seal, secure, portalOf: () => 'default', urls }
}
