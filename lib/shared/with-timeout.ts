/**
 * Waits, but not for long.
 *
 * @param limit milliseconds
 * @throws Error when there is no answer in time; one that comes later is heard and forgotten
 */
export async function withTimeout<T>(limit: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limit} ms`)), limit)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
