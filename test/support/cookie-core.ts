import type { Seal } from '../../lib/shared/seal.ts'
import type { CookieCore } from '../../lib/web/sealed-cookie.ts'
import { PortalUrls } from '../../lib/web/urls.ts'

/** The part of a portal that seals cookies. */
export function cookieCore(
  seal: Seal,
  { secure = false, baseUrl = 'https://portal.example', mountPath = '/' } = {},
): CookieCore {
  return { seal: () => seal, secure, portalOf: () => 'default', urls: new PortalUrls(baseUrl, mountPath) }
}
