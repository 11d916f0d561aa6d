import session, { type Store } from 'express-session'

export interface SessionMiddlewareOptions {
  store: Store
  /** newest first */
  secrets: string[]
  cookieName: string
  secure: boolean
  /** milliseconds that the browser keeps the cookie; how long the session lasts is the server's to say */
  longest: number
}

export function createSessionMiddleware(options: SessionMiddlewareOptions): ReturnType<typeof session> {
  return session({
    store: options.store,
    secret: options.secrets,
    name: options.cookieName,
    resave: false,
    // A visitor who has not signed in costs no stored state.
    saveUninitialized: false,
    // Not with every answer: a page that is asked for often would write each time, and its answer could not be stored anywhere.
    rolling: false,
    // Believes X-Forwarded-Proto, for one thing only: whether the Secure cookie may be sent at all.
    proxy: true,
    cookie: {
      httpOnly: true,
      secure: options.secure,
      sameSite: 'lax',
      path: '/',
      maxAge: options.longest,
    },
  })
}
