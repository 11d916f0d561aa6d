import type { Command } from 'commander'

/**
 * A script for bash that completes commands and flags. It is static, so that no key press starts the program; zsh runs it with
 * `bashcompinit`.
 */
export function completionScript(program: Command): string {
  const cases = listCommands(program)
  const names = cases.slice(1).map(({ path }) => `'${path}'`)
  const lines = cases.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`)
  return `_portal_sso() {
  local path='' words='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
    ${names.join('|')}) path="$path $word" ;;
    esac
  done
  case "$path" in
${lines.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _portal_sso portal-sso`
}

/** All commands with what can follow them: subcommands and flags. */
function listCommands(command: Command, path = ''): { path: string; words: string[] }[] {
  const { commands, options } = command
  const words = [...commands.map((each) => each.name()), ...options.map(({ long }) => String(long)), '--help']
  return [{ path, words }, ...commands.flatMap((each) => listCommands(each, `${path} ${each.name()}`))]
}
