import type { HttpClient } from '../../oidc/http-client.ts'
import type { Check } from '../../providers/provider.ts'
import { phrase } from '../../shared/phrase.ts'
import { clockToleranceSeconds } from '../../shared/time.ts'
import { absent, failed, ok, warning } from './candidate.ts'

/** beyond this offset sign-ins fail: tokens would be issued in the future, or already expired */
const maxOffsetSeconds = 300

/** Compares the provider's clock (`Date`, RFC 9110, 6.6.1) with ours. */
export function createClock(outbound: HttpClient) {
  let smallestOffset: number | undefined
  const observe = (send: HttpClient['fetch']): HttpClient['fetch'] => {
    return async (...request) => {
      const response = await send(...request)
      const theirs = Date.parse(response.headers.get('date') ?? '')
      const offset = Math.round((theirs - Date.now()) / 1000)
      // A cached document has an old time, so the smallest offset is the right one.
      if (!Number.isNaN(offset) && Math.abs(offset) <= Math.abs(smallestOffset ?? Number.POSITIVE_INFINITY))
        smallestOffset = offset
      return response
    }
  }
  return {
    /** the same client, which also reads the time of each response */
    outbound: {
      ...outbound,
      fetch: observe(outbound.fetch),
      fetchFollowingRedirects: observe(outbound.fetchFollowingRedirects),
    },
    check: () => checkOffset(smallestOffset),
  }
}

function checkOffset(seconds: number | undefined): Check {
  if (seconds === undefined) return absent('clock', phrase('not tested: the provider does not send its time'))
  const distance = Math.abs(seconds)
  if (distance <= clockToleranceSeconds) return ok('clock', phrase('the clocks agree'))
  const values = { distance, tolerated: clockToleranceSeconds }
  const message =
    seconds > 0
      ? phrase(
          'the provider’s clock is {{distance}} s ahead of ours; up to {{tolerated}} s are tolerated',
          values,
        )
      : phrase(
          'the provider’s clock is {{distance}} s behind ours; up to {{tolerated}} s are tolerated',
          values,
        )
  const hint = phrase('synchronise the clocks of both servers (NTP)')
  return (distance > maxOffsetSeconds ? failed : warning)('clock', message, hint)
}
