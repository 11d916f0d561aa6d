import type { HttpClient } from '../../oidc/http-client.ts'
import { clockTolerance } from '../../oidc/provider-client.ts'
import type { Check } from '../../providers/provider.ts'
import { failed, ok, warning } from './candidate.ts'

/** seconds; a token from that far ahead is refused, one from that far behind may be over as soon as it is made */
const tooFar = 300

export interface Clock {
  /** the same way out, whose answers are looked at for the time in them */
  outbound: HttpClient
  check(): Check
}

/** Compares the provider's clock (`Date`, RFC 9110, 6.6.1) with ours, in whatever it answers. */
export function createClock(outbound: HttpClient): Clock {
  let nearest: number | undefined
  const heard = (act: HttpClient['fetch']): HttpClient['fetch'] => {
    return async (...asked) => {
      const response = await act(...asked)
      const theirs = Date.parse(response.headers.get('date') ?? '')
      const seconds = Math.round((theirs - Date.now()) / 1000)
      // A document that some cache has kept tells an old time: the nearest answer is right.
      if (!Number.isNaN(seconds) && Math.abs(seconds) <= Math.abs(nearest ?? Number.POSITIVE_INFINITY))
        nearest = seconds
      return response
    }
  }
  return {
    outbound: { ...outbound, fetch: heard(outbound.fetch), fetchMoved: heard(outbound.fetchMoved) },
    check: () => verdict(nearest),
  }
}

function verdict(seconds: number | undefined): Check {
  if (seconds === undefined)
    return warning('clock', 'the provider sends no time', 'nothing, if a sign-in works')
  const apart = Math.abs(seconds)
  if (apart <= clockTolerance) return ok('clock', 'the clocks agree')
  const finding = `the provider’s clock is ${apart} s ${seconds > 0 ? 'ahead of' : 'behind'} ours, but only ${clockTolerance} s are tolerated`
  const remedy = 'synchronise the clocks of both servers with NTP'
  return (apart > tooFar ? failed : warning)('clock', finding, remedy)
}
