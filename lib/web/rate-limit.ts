/** How many requests a minute one client address may make to each kind of route. */
export interface RateLimits {
  /** clicks on a provider; default 300: a whole office may share one address */
  start: number
  /** answers of providers; default 300 */
  callback: number
  /** the registration form; default 60 */
  registration: number
  /** entering or asking for an e-mailed code; default 20 */
  code: number
  /** signing out; default 120 */
  logout: number
}
