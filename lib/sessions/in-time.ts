import { PortalSsoError } from '../errors.ts'
import { within } from '../within.ts'

/** milliseconds that a request waits for the store before it is told to come back */
const patience = 2000

/**
 * What the session store, or Redis behind it, says, if it says so in time.
 *
 * @throws PortalSsoError `session_unavailable`
 */
export async function inTime<T>(answer: Promise<T>): Promise<T> {
  try {
    return await within(patience, answer)
  } catch (cause) {
    if (cause instanceof PortalSsoError) throw cause
    throw new PortalSsoError('session_unavailable', 'the session store', { cause })
  }
}
