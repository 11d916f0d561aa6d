import type { EventLog } from '../events/event-log.ts'
import type { HttpClients } from '../oidc/http-client.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { ConnectedProviders } from '../sign-in/connected-providers.ts'
import type { Core } from '../web/core.ts'

export interface ManagementContext extends Pick<Core, 'clock' | 'knex' | 'logger' | 'urls'> {
  events: EventLog
  outbound: HttpClients
  providersTable: ProvidersTable
  connectedProviders: ConnectedProviders
  sessions: Sessions
}
