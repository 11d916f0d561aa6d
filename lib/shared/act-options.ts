/** Where an administrator's action applies, and who performs it. The last argument of every management method. */
export interface ActOptions {
  /** Default: the portal that the API is bound to, `default` unless `sso.portal(name)` was called. */
  portal?: string | undefined
  /** For the event log: the id of a user, `cli:<system user>` or `code`. Default `code`. */
  actor?: string | undefined
  /**
   * Where the values come from. Only `code` may set a secret reference: an administrator of one portal could otherwise have
   * any file of the server sent to an issuer of their own. A host's own form must give `form`. Default `code`.
   */
  source?: 'code' | 'form' | 'file' | undefined
}

export type ResolvedActOptions = Required<{ [Name in keyof ActOptions]: NonNullable<ActOptions[Name]> }>

export function resolveActOptions(options: ActOptions, defaultPortal: string): ResolvedActOptions {
  const { portal = defaultPortal, actor = 'code', source = 'code' } = options
  return { portal, actor, source }
}
