/**
 * Shifts the clock of a process: `node --import …/shifted-clock.mjs`, with CLOCK_SHIFT_MS in its environment. Timers and
 * `performance.now()` keep their pace, as on a machine whose clock is wrong.
 */
const shiftMs = Number(process.env.CLOCK_SHIFT_MS)
const RealDate = Date

class ShiftedDate extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(RealDate.now() + shiftMs)
    else super(...given)
  }

  static now() {
    return RealDate.now() + shiftMs
  }
}

globalThis.Date = ShiftedDate
