import type { Knex } from 'knex'
import type { EventLog } from '../events/event-log.ts'
import type { HttpClients } from '../oidc/http-client.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { SecretBox } from '../shared/seal.ts'
import type { ConnectedProviders } from '../sign-in/connected-providers.ts'
import type { PortalUrls } from '../web/urls.ts'

/** The modules that administrators' actions work on. */
export interface ManagementContext {
  knex: Knex
  urls: PortalUrls
  events: EventLog
  http: HttpClients
  providersTable: ProvidersTable
  connectedProviders: ConnectedProviders
  sessions: Sessions
  secretBox: SecretBox
}
