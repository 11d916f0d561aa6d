import { afterAll, beforeAll, describe, it } from '@jest/globals'
import { Host, type RunningHost } from './host.ts'
import { signInAndOut } from './sign-in.ts'

interface HostDescription {
  /** default: the name of its folder */
  title?: string
  /** the program to start, relative to the host's folder */
  entry: string
  /** commands that check or build it first */
  build?: [result: string, ...command: [string, ...string[]]][]
}

/** Installs and starts a host, signs a user in and out, and runs more tests with it. */
export function describeHost(
  name: string,
  { title = name, entry, build = [] }: HostDescription,
  more: (host: Host, running: () => RunningHost) => void = () => {},
): void {
  describe(`the host ${title}`, () => {
    const host = new Host(name)
    let running: RunningHost | undefined
    beforeAll(() => host.install())
    afterAll(() => running?.stop())

    for (const [result, ...command] of build)
      it(result, async () => {
        await host.run(...command)
      })

    it('signs a new user in, out, and in again', async () => {
      running = await host.start(entry)
      await signInAndOut({ url: running.url })
    })

    more(host, () => running!)
  })
}
