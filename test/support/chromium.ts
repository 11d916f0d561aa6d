import { type Browser, chromium } from 'playwright-core'

/** The run's browser, which all test files share: closing what this returns closes its own contexts only. */
export async function openBrowser(): Promise<Browser> {
  return chromium.connect(process.env.TEST_BROWSER_WS!)
}
