// Numbers in text, read from its bytes: as exact as Number(text), without the text.

const powers = Float64Array.from({ length: 23 }, (_, i) => Number(`1e${i}`)); // all exact
const decoder = new TextDecoder();
const split = 2 ** 27 + 1;
const [plus, minus, point, zero, upperE, lowerE] = [43, 45, 46, 48, 69, 101];

/**
 * The decimal number that bytes begin..end - 1 are, such as -1.5 or 2e-3; NaN where they are none.
 *
 * The digits are a whole number times a power of ten. Where both are exact in float64, one
 * operation rounds rightly (Clinger's fast path). Up to 22 digits the quotient is made with about
 * twice the precision, and where that leaves no doubt which float64 is nearest, it is that. What
 * remains is left to Number().
 */
export function parseNumber(bytes: Uint8Array, begin: number, end: number): number {
  let at = begin;
  const sign = bytes[at]!;
  if (sign === minus || sign === plus) at++;
  let head = 0; // the first 15 digits, leading zeros aside
  let tail = 0; // up to 7 more
  let headDigits = 0;
  let tailDigits = 0;
  let more = false; // even more
  let digits = 0;
  let decimals = 0;
  let seenPoint = false;
  for (; at < end; at++) {
    const digit = bytes[at]! - zero;
    if (digit >= 0 && digit <= 9) {
      digits++;
      if (seenPoint) decimals++;
      if (headDigits < 15) {
        head = head * 10 + digit;
        if (head !== 0) headDigits++;
      } else if (tailDigits < 7) {
        tail = tail * 10 + digit;
        tailDigits++;
      } else more = true;
    } else if (digit === point - zero && !seenPoint) seenPoint = true;
    else break;
  }
  if (digits === 0) return NaN;
  let exponent = 0;
  if (at < end) {
    if (bytes[at] !== lowerE && bytes[at] !== upperE) return NaN;
    at++;
    const negative = bytes[at] === minus;
    if (at < end && (negative || bytes[at] === plus)) at++;
    if (at === end) return NaN;
    for (; at < end; at++) {
      const digit = bytes[at]! - zero;
      if (digit < 0 || digit > 9) return NaN;
      exponent = Math.min(exponent * 10 + digit, 99999);
    }
    if (negative) exponent = -exponent;
  }
  const scale = decimals - exponent; // the number is the digits / 10^scale
  let value: number | undefined;
  if (!more && tailDigits === 0) {
    if (scale === 0 || head === 0) value = head;
    else if (scale > 0 && scale <= 22) value = head / powers[scale]!;
    else if (scale < 0 && scale >= -22) value = head * powers[-scale]!;
  } else if (!more && scale <= 22 && scale >= tailDigits) {
    value = quotient(head, powers[scale - tailDigits]!, tail / powers[scale]!);
  }
  if (value !== undefined) return sign === minus ? -value : value;
  return Number(decoder.decode(bytes.slice(begin, end)));
}

// a / b + rest, of which rest is far smaller; undefined where two float64 are about as near.
function quotient(a: number, b: number, rest: number): number | undefined {
  const q = a / b;
  // Dekker's product: q * b = product + error exactly
  const product = q * b;
  const [qHigh, bHigh] = [split * q - (split * q - q), split * b - (split * b - b)];
  const [qLow, bLow] = [q - qHigh, b - bHigh];
  const error = qLow * bLow - (product - qHigh * bHigh - qLow * bHigh - qHigh * bLow);
  const low = (a - product - error) / b + rest;
  const doubt = Math.abs(low) * 2 ** -48;
  const value = q + (low - doubt);
  return value === q + (low + doubt) ? value : undefined;
}
