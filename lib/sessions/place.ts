import type { Request } from 'express'
import { explain } from '../errors.ts'
import { loggable } from '../loggable.ts'
import type { Logger } from '../logger.ts'

/** Where a request comes from, as far as that may be kept, in one line of bounded length. */
export type PlaceOf = (req: Request) => string | undefined

/** as long as the column */
const longest = 100

/** @param place the host's function, which may say anything, or throw: nobody is kept out by that */
export function createPlaceOf(place: (req: Request) => unknown, logger: Logger): PlaceOf {
  const failed = (error: unknown) =>
    logger.error({ cause: explain(error) }, 'the function `session.place` threw')
  return (req) => {
    try {
      const said = place(req)
      // Nobody waits for an async function; what it rejects with would end the process.
      if (said instanceof Promise) said.catch(failed)
      return typeof said === 'string' && said !== '' ? loggable(said, longest) : undefined
    } catch (error) {
      failed(error)
      return undefined
    }
  }
}
