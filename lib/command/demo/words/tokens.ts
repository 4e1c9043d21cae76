/** The words of a text, in small letters. What is no letter separates them. */
export function tokensOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z]+/g) ?? [];
}
